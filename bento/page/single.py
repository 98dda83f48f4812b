"""The tab "One text": its event handlers, from the visitor's text to the summary, its evidence and the API request."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import gradio as gr
from markupsafe import Markup

from bento.page import snippets
from bento.page.admission import AdmissionQueue
from bento.page.grounding_view import growing_html, source_html, summary_html, unfinished_html, verdict_html
from bento.page.html import escape, status
from bento.page.limits import MAX_TEXT_CHARACTERS
from bento.page.long_document import excerpts
from bento.page.messages import (
    part_progress,
    queue_position,
    reading_progress,
    summary_report,
)
from bento.page.options import default_params, to_params
from bento.page.readers.errors import DocumentError
from bento.page.readers.sandbox import read_document
from bento.page.sessions import SessionTasks
from bento.page.summarizing import Done, Reading, ReadingPart, Waiting, Writing, summarize
from bento.page.upload_components import paths_of
from bento.page.visitors import visitor_of
from precis import Engine, GenerationParams
from precis.grounding.assessment import assess

TOO_LONG_FOR_API = "# The document was summarized in parts: send its parts to the API, then their summaries."
UNCHANGED: Any = gr.skip()  # as an output, leaves the component as it is


class LastResult(NamedTuple):
    """The last summary, as HTML, and what it was made from; kept in the session for the comparison with the base."""

    text: str
    params: GenerationParams
    summary: Markup


class View(NamedTuple):
    """One update of the tab, in the order of the handlers' outputs."""

    text: Any = UNCHANGED
    summary: Any = UNCHANGED
    status: Any = UNCHANGED
    source: Any = UNCHANGED
    curl: Any = UNCHANGED
    python: Any = UNCHANGED
    base: Any = UNCHANGED
    last_result: Any = UNCHANGED


class SingleText:
    """The tab's handlers. `address` is the page's URL in the visitor's browser, `options` the values of `Options`."""

    def __init__(
        self,
        engine: Engine,
        queue: AdmissionQueue,
        needs_key: bool,
        delete_upload: Callable[[str], None],
        stop_comparison: Callable[[gr.Request], None] | None = None,
    ) -> None:
        self._engine, self._queue, self._needs_key, self._delete_upload = engine, queue, needs_key, delete_upload
        self._stop_comparison = stop_comparison
        self._defaults = default_params(engine)
        self.tasks: SessionTasks[View] = SessionTasks()

    async def run(self, request: gr.Request, text: str, address: str, *options: Any) -> AsyncGenerator[View, None]:
        """Summarizes the text in the box."""
        draft = _Draft()
        views = self._views(request, draft, _as_text(text), _as_text(address), options)
        async with contextlib.aclosing(self._run(request, draft, views)) as running:
            async for view in running:
                yield view

    async def run_example(
        self, request: gr.Request, document: str, address: str, *options: Any
    ) -> AsyncGenerator[View, None]:
        """Puts `document` into the box and summarizes it."""
        yield View(text=document)
        async with contextlib.aclosing(self.run(request, document, address, *options)) as views:
            async for view in views:
                yield view

    async def run_file(self, request: gr.Request, file: Any, address: str, *options: Any) -> AsyncGenerator[View, None]:
        """Reads an uploaded file into the box, deletes it, and summarizes its text."""
        draft = _Draft()
        views = self._file_views(request, draft, paths_of(file), _as_text(address), options)
        async with contextlib.aclosing(self._run(request, draft, views)) as running:
            async for view in running:
                yield view

    async def _run(
        self, request: gr.Request, draft: "_Draft", views: AsyncGenerator[View, None]
    ) -> AsyncGenerator[View, None]:
        """Runs `views` as the visitor's only task. After Stop or an error, what was written of the summary stays."""
        if self._stop_comparison:
            self._stop_comparison(request)

        def ended_early(sentence: str, kind: str) -> View:
            return View(summary=unfinished_html(draft.text), status=status(sentence, kind), base="", last_result=None)

        async with contextlib.aclosing(self.tasks.run(request, views, ended_early)) as running:
            async for view in running:
                yield view

    async def _file_views(
        self, request: gr.Request, draft: "_Draft", paths: list[str], address: str, options: tuple[Any, ...]
    ) -> AsyncGenerator[View, None]:
        yield View(status=status("Opening the file…", "busy"))
        if not paths:
            raise DocumentError("Choose a file first.")
        try:
            document = await read_document(paths[0], visitor_of(request))
        finally:
            self._delete_upload(paths[0])
        yield View(text=document.text)
        async with contextlib.aclosing(self._views(request, draft, document.text, address, options)) as views:
            async for view in views:
                if document.note and isinstance(view.last_result, LastResult):
                    view = view._replace(status=status(document.note) + view.status)
                yield view

    async def _views(
        self, request: gr.Request, draft: "_Draft", text: str, address: str, options: tuple[Any, ...]
    ) -> AsyncGenerator[View, None]:
        params = to_params(self._defaults, *options)
        waited = False
        yield View(summary=growing_html(""), status=status("Reading…", "busy"), base="", last_result=None)
        states = summarize(self._engine, self._queue, text, params, visitor_of(request))
        async with contextlib.aclosing(states):
            async for state in states:
                match state:
                    case Waiting(ahead):
                        waited = True
                        yield View(status=status(queue_position(ahead), "busy"))
                    case Reading():
                        yield View(status=status(reading_progress(state), "busy"))
                    case ReadingPart():
                        yield View(status=status(part_progress(state), "busy"))
                    case Writing(so_far):
                        draft.text = so_far
                        yield View(summary=growing_html(so_far), status=status("Writing…", "busy"))
                    case Done():
                        yield await self._result(text, params, state, address, waited)

    async def _result(self, text: str, params: GenerationParams, done: Done, address: str, waited: bool) -> View:
        summary = done.summary.text
        assessment = await asyncio.to_thread(assess, text, done.summary, self._engine.certificate(params), True)
        evidence = assessment.evidence
        assert evidence is not None  # it was asked for
        report = escape(summary_report(text, done, waited))
        if not (done.summary.already_short or done.summary.unsupported_language):
            report = verdict_html(evidence, assessment.trust, extracted=bool(done.summary.extracted)) + " " + report
        as_html = summary_html(summary, evidence.unsupported, done.sentences)
        service = snippets.service_url(address)
        # Of a long document only what matters is sent to the browser a second time, and no request repeats it.
        is_long = len(text) > MAX_TEXT_CHARACTERS
        shown, shown_evidence = excerpts(text, evidence) if is_long else (text, evidence)
        curl = TOO_LONG_FOR_API if is_long else snippets.as_curl(service, text, params, self._needs_key)
        python = TOO_LONG_FOR_API if is_long else snippets.as_python(service, text, params, self._needs_key)
        return View(
            summary=as_html,
            status=status(report),
            source=source_html(shown, shown_evidence),
            curl=_code("As curl", curl),
            python=_code("As Python", python),
            last_result=LastResult(text, params, as_html),
        )


@dataclass
class _Draft:
    """What has been written of a summary so far."""

    text: str = ""


def _as_text(value: object) -> str:
    """What the page sent for a text box; a request need not come from the page."""
    return value if isinstance(value, str) else ""


def _code(name: str, code: str) -> str:
    return f'<pre tabindex="0" role="region" aria-label="{name}"><code>{escape(code)}</code></pre>'
