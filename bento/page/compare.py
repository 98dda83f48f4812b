"""The base before fine-tuning, on the same text: a second engine, loaded when the first visitor asks for it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import gradio as gr

from bento.page.admission import ROWS, Line
from bento.page.grounding_view import doubts, summary_html
from bento.page.html import escape, status
from bento.page.single import FAILED, Made, Runs, told
from bento.page.summarizing import REFUSALS, Done, Stopped, Writing, steps
from precis import Engine
from precis.bundle.names import MANIFEST
from precis.grounding.evidence import find_evidence

log = logging.getLogger("precis.page")

THREADS = 1  # the engine that serves goes first
LEAD = (
    "<p>The same text and settings, by the same model before it was fine-tuned. The first comparison takes a moment, "
    "since the second model has to be loaded.</p>"
)


class Compare:
    """The handlers of the comparison."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._engine: Engine | None = None
        self._loading = asyncio.Lock()
        self._line = Line()
        self._runs = Runs()

    async def run(self, request: gr.Request, made: Made | None) -> AsyncIterator[str]:
        """The base's summary as it grows, beside what fine-tuning made of it."""
        if made is None:
            yield status("Summarize a text first.", "wrong")
            return
        with self._runs.begin(request.session_hash) as stop:
            try:
                yield status("Loading the base model…" if self._engine is None else "Reading…", "busy")
                engine = await self._load()
                work = steps(engine, self._line, made.text, made.generation, made.beams, stop)
                async with contextlib.aclosing(work):
                    async for step in work:
                        if isinstance(step, Writing):
                            yield _beside(f'<p class="gist">{escape(step.text)}</p>', "", made)
                        elif isinstance(step, Done):
                            evidence = await asyncio.to_thread(find_evidence, made.text, step.summary.text)
                            words = f"{told(made.text, step)} {doubts(evidence.unsupported)}"
                            yield _beside(summary_html(step.summary.text, evidence.unsupported), words, made)
            except Stopped:
                pass
            except REFUSALS as error:
                yield status(str(error), "wrong")
            except Exception:
                log.exception("The comparison failed")
                yield status(FAILED, "wrong")

    async def _load(self) -> Engine:
        async with self._loading:
            if self._engine is None:
                self._engine = await asyncio.to_thread(Engine.load, self._folder, threads=THREADS, rows=ROWS)
        return self._engine


def base_folder(engine: Engine, named: Path | None) -> Path | None:
    """The base's bundle: the one that is named, or bundle-base-int8 beside the one served; None where there is none."""
    folder = named or engine.bundle.folder.resolve().parent / "bundle-base-int8"
    return folder if (folder / MANIFEST).is_file() else None


def _beside(base: str, words: str, made: Made) -> str:
    tuned = f'<p class="gist">{escape(made.summary)}</p>'
    return (
        f'<div class="beside"><section><h3>Before fine-tuning</h3>{base}{status(words)}</section>'
        f"<section><h3>This model</h3>{tuned}</section></div>"
    )
