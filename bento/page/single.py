"""One text: from a visitor's wish to its summary, what it rests on, and the request that repeats it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from bento.page import readers, snippets
from bento.page.admission import Line
from bento.page.grounding_view import doubts, source_html, summary_html
from bento.page.html import count, escape, status
from bento.page.options import defaults, generation
from bento.page.summarizing import REFUSALS, Done, Reading, Stopped, Waiting, Writing, steps
from precis import Engine, GenerationParams
from precis.grounding.evidence import find_evidence

log = logging.getLogger("precis.page")

SLOW = 2.0  # seconds of reading after which the page tells why
FAILED = "Something went wrong here; the server's log tells what."
KEEP: Any = gr.skip()  # leaves a component as it is


class Made(NamedTuple):
    """What the last summary was made of; kept for the visitor's next wish."""

    text: str
    generation: GenerationParams
    beams: int
    summary: str


class View(NamedTuple):
    """What one step changes on the page, in the order of the outputs."""

    text: Any = KEEP
    summary: Any = KEEP
    status: Any = KEEP
    source: Any = KEEP
    curl: Any = KEEP
    python: Any = KEEP
    base: Any = KEEP
    made: Any = KEEP


class Runs:
    """The work that each visitor waits for; what begins later stops what is there."""

    def __init__(self) -> None:
        self._stops: dict[str, asyncio.Event] = {}

    @contextlib.contextmanager
    def begin(self, session: str) -> Iterator[asyncio.Event]:
        """An event that is set when the work is to stop."""
        self.stop(session)
        mine = self._stops[session] = asyncio.Event()
        try:
            yield mine
        finally:
            if self.current(session, mine):
                del self._stops[session]

    def stop(self, session: str) -> None:
        if session in self._stops:
            self._stops[session].set()

    def current(self, session: str, stop: asyncio.Event) -> bool:
        """Whether nothing newer has begun since."""
        return self._stops.get(session) is stop


class Single:
    """The handlers of the first tab."""

    def __init__(self, engine: Engine, line: Line, examples: list[dict[str, str]], key: bool) -> None:
        self._engine, self._line, self._examples, self._key = engine, line, examples, key
        self._own = defaults(engine)
        self._runs = Runs()

    async def run(self, request: gr.Request, text: str, address: str, *options: Any) -> AsyncIterator[View]:
        """Summarizes what stands in the box."""
        with self._runs.begin(request.session_hash) as stop:
            try:
                async with contextlib.aclosing(self._views(text or "", address, options, stop)) as views:
                    async for view in views:
                        yield view
            except Stopped:
                if self._runs.current(request.session_hash, stop):
                    yield View(status=status("Stopped."))
            except REFUSALS as error:
                yield View(status=status(_sentence(error), "wrong"))
            except Exception:
                log.exception("The page failed at a text")
                yield View(status=status(FAILED, "wrong"))

    async def run_example(self, request: gr.Request, title: str, address: str, *options: Any) -> AsyncIterator[View]:
        """Puts an example into the box and summarizes it."""
        text = next((example["document"] for example in self._examples if example["title"] == title), "")
        async for view in self._filled(request, text, address, options):
            yield view

    async def run_file(self, request: gr.Request, path: str, address: str, *options: Any) -> AsyncIterator[View]:
        """Reads a dropped file into the box and summarizes it."""
        yield View(status=status("Opening the file…", "busy"))
        try:
            document = await readers.read(path)
        except readers.DocumentError as error:
            yield View(status=status(str(error), "wrong"))
            return
        finally:
            Path(path).unlink(missing_ok=True)  # nothing of a visitor's is kept
        async for view in self._filled(request, document.text, address, options, document.note):
            yield view

    async def run_link(self, request: gr.Request, address: str, *options: Any) -> AsyncIterator[View]:
        """Summarizes the text that a shared link carries, if this one does."""
        text = request.query_params.get("text", "")
        if text:
            async for view in self._filled(request, text, address, options):
                yield view
        else:
            yield View()

    def stop(self, request: gr.Request) -> None:
        """Ends the visitor's work, if there is any."""
        self._runs.stop(request.session_hash)

    async def _filled(
        self, request: gr.Request, text: str, address: str, options: tuple, note: str = ""
    ) -> AsyncIterator[View]:
        yield View(text=text)
        async with contextlib.aclosing(self.run(request, text, address, *options)) as views:
            async for view in views:
                if note and view.made not in (KEEP, None):
                    view = view._replace(status=status(note) + view.status)
                yield view

    async def _views(self, text: str, address: str, options: tuple, stop: asyncio.Event) -> AsyncIterator[View]:
        asked, beams = generation(self._own, *options)
        waited = False
        yield View(summary=_writing(""), status=status("Reading…", "busy"), base="", made=None)
        async with contextlib.aclosing(steps(self._engine, self._line, text, asked, beams, stop)) as work:
            async for step in work:
                match step:
                    case Waiting(ahead):
                        waited = True
                        yield View(status=status(_in_line(ahead), "busy"))
                    case Reading(seconds):
                        slow = " A long text is summarized piece by piece first." if seconds > SLOW else ""
                        yield View(status=status(f"Reading…{slow}", "busy"))
                    case Writing(so_far):
                        yield View(summary=_writing(so_far), status=status("Writing…", "busy"))
                    case Done():
                        yield await self._done(text, asked, beams, step, address, waited)

    async def _done(
        self, text: str, asked: GenerationParams, beams: int, done: Done, address: str, waited: bool
    ) -> View:
        summary = done.summary.text
        evidence = await asyncio.to_thread(find_evidence, text, summary)
        site = snippets.site_of(address)
        return View(
            summary=summary_html(summary, evidence.unsupported),
            status=status(" ".join(filter(None, [told(text, done, waited), doubts(evidence.unsupported)]))),
            source=source_html(text, evidence),
            curl=_code("As curl", snippets.as_curl(site, text, asked, self._key)),
            python=_code("As Python", snippets.as_python(site, text, asked, self._key)),
            made=Made(text, asked, beams, summary),
        )


def told(text: str, done: Done, waited: bool = False) -> str:
    """How the summary came about, in words a visitor understands."""
    summary = done.summary
    written, read = len(summary.text.split()), len(text.split())
    words = [
        f"{count(written, 'word')} from {read:,} in {done.seconds:.1f} s"
        f"{', waiting included' if waited else ''}; the first after {done.first:.2f} s."
    ]
    if summary.chunks > 1:
        words.append(
            f"The text is longer than the model reads at once, so it was summarized in {summary.chunks} chunks, "
            "and their summaries once more."
        )
    if summary.truncated_tokens:
        words.append(f"The last {count(summary.truncated_tokens, 'token')} of it were not read.")
    elif summary.chunks == 1:
        words.append("All of the text was read.")
    if summary.finish_reason == "length":
        words.append("The summary was cut at the longest length you allow.")
    return " ".join(words)


def _in_line(ahead: int) -> str:
    return "You are next; the engine is busy." if ahead == 0 else f"In line: {count(ahead, 'text')} before yours."


def _writing(text: str) -> str:
    return f'<p class="gist" aria-busy="true">{escape(text)}<span class="caret" aria-hidden="true"></span></p>'


def _code(name: str, code: str) -> str:
    return f'<pre tabindex="0" role="region" aria-label="{name}"><code>{escape(code)}</code></pre>'


def _sentence(error: Exception) -> str:
    """The error as a sentence of its own."""
    words = str(error)
    return words[:1].upper() + words[1:]
