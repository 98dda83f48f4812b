"""Compares with the base model before fine-tuning: a second engine, loaded when the first visitor asks for it."""

import asyncio
import contextlib
import os.path
from collections.abc import AsyncGenerator
from pathlib import Path

import gradio as gr

from bento.page.admission import ENGINE_ROWS, AdmissionQueue
from bento.page.grounding_view import growing_html, summary_html
from bento.page.html import render, status
from bento.page.messages import grounding_report, summary_report
from bento.page.sessions import SessionTasks
from bento.page.single import LastResult
from bento.page.summarizing import Done, Writing, summarize
from bento.page.visitors import visitor_of
from precis import Engine
from precis.bundle.names import MANIFEST
from precis.grounding.evidence import find_evidence

THREADS = 1  # the engine that serves has priority
INTRODUCTION = (
    "<p>The same text and settings, by the same model before it was fine-tuned. The first comparison takes a moment, "
    "since the second model has to be loaded.</p>"
)


class BaseComparison:
    """The event handler of the comparison."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._engine: Engine | None = None
        self._loading = asyncio.Lock()
        self._queue = AdmissionQueue()
        self._tasks: SessionTasks[str] = SessionTasks()

    async def run(self, request: gr.Request, last_result: LastResult | None) -> AsyncGenerator[str, None]:
        """The base model's growing summary beside the last one, as HTML."""
        if last_result is None:
            yield status("Summarize the text anew to compare; the server has forgotten it.", "error")
            return
        views = self._tasks.run(request, self._views(visitor_of(request), last_result), status)
        async with contextlib.aclosing(views):
            async for view in views:
                yield view

    def stop(self, request: gr.Request) -> None:
        """Ends the visitor's comparison, which is of a text that is replaced."""
        self._tasks.stop(request)

    async def _views(self, visitor: str, tuned: LastResult) -> AsyncGenerator[str, None]:
        yield status("Loading the base model…" if self._engine is None else "Reading…", "busy")
        engine = await self._load()
        states = summarize(engine, self._queue, tuned.text, tuned.params, visitor)
        async with contextlib.aclosing(states):
            async for state in states:
                if isinstance(state, Writing):
                    yield render("comparison.html", base=growing_html(state.text), base_status="", tuned=tuned.summary)
                elif isinstance(state, Done):
                    evidence = await asyncio.to_thread(find_evidence, tuned.text, state.summary.text)
                    report = f"{summary_report(tuned.text, state)} {grounding_report(evidence)}"
                    base = summary_html(state.summary.text, evidence.unsupported, state.sentences)
                    yield render("comparison.html", base=base, base_status=status(report), tuned=tuned.summary)

    async def _load(self) -> Engine:
        async with self._loading:
            if self._engine is None:
                self._engine = await asyncio.to_thread(Engine.load, self._folder, threads=THREADS, rows=ENGINE_ROWS)
        return self._engine


def find_base_bundle(engine: Engine, configured: Path | None) -> Path | None:
    """`configured`, else `bundle-base-int8` next to the bundle that is served; None where that holds no bundle."""
    folder = configured or engine.bundle.folder.resolve().parent / "bundle-base-int8"
    return folder if os.path.isfile(folder / MANIFEST) else None
