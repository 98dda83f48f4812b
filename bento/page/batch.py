"""The tab "Several texts": its event handlers, and a table that fills as the documents are summarized."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from bento.page import limits
from bento.page.admission import AdmissionQueue
from bento.page.batch_rows import BatchRow, progress, refused_rows, table_html
from bento.page.html import status
from bento.page.messages import error_message
from bento.page.options import default_params, to_params
from bento.page.readers.sandbox import read_document
from bento.page.sessions import SessionTasks
from bento.page.single import UNCHANGED
from bento.page.summarizing import Done, summarize
from bento.page.upload_components import paths_of
from bento.page.visitors import visitor_of
from precis import Engine, GenerationParams

FRAME_SECONDS = 0.25  # between two updates of the table


class View(NamedTuple):
    """One update of the tab, in the order of the handlers' outputs; `rows` are what the downloads hold."""

    table: Any = UNCHANGED
    status: Any = UNCHANGED
    rows: Any = UNCHANGED


class Batch:
    """The tab's handlers."""

    def __init__(self, engine: Engine, queue: AdmissionQueue) -> None:
        self._engine, self._queue = engine, queue
        self._defaults = default_params(engine)
        self.tasks: SessionTasks[View] = SessionTasks()

    async def run(self, request: gr.Request, files: Any, refused: Any, *options: Any) -> AsyncGenerator[View, None]:
        """Reads and summarizes the uploaded files; `options` are the values of `Options`.

        `refused` are the files that the browser has not sent, as JSON.
        """
        paths = paths_of(files)
        if not 0 < len(paths) <= limits.MAX_FILES:
            too_many = f"At most {limits.MAX_FILES} files at once; these are {len(paths)}."
            yield View(status=status(too_many if paths else "Choose some files first.", "error"))
            return
        read = [BatchRow(Path(path).name) for path in paths]
        rows = [*read, *refused_rows(refused)]

        def ended_early(sentence: str, kind: str) -> View:
            return _last_view(rows, sentence, kind)

        views = self.tasks.run(request, self._views(visitor_of(request), paths, read, rows, options), ended_early)
        async with contextlib.aclosing(views):
            async for view in views:
                yield view

    async def _views(
        self, visitor: str, paths: list[str], read: list[BatchRow], rows: list[BatchRow], options: tuple[Any, ...]
    ) -> AsyncGenerator[View, None]:
        params = to_params(self._defaults, *options)
        remaining = iter(zip(paths, read, strict=True))

        async def work() -> None:
            for path, row in remaining:
                await self._summarize(visitor, path, row, params)

        workers = [asyncio.create_task(work()) for _ in range(limits.FILES_AT_ONCE)]
        yield View(table_html(rows), status(progress(rows), "busy"), None)
        try:
            while not all(worker.done() for worker in workers):
                await asyncio.wait(workers, timeout=FRAME_SECONDS)
                yield View(table_html(rows), status(progress(rows), "busy"))
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        yield _last_view(rows)

    async def _summarize(self, visitor: str, path: str, row: BatchRow, params: GenerationParams) -> None:
        """Fills `row`. An error is written into the row and stops no other document."""
        try:
            document = await read_document(path, visitor)
            row.note = document.note
            states = summarize(self._engine, self._queue, document.text, params, visitor)
            async with contextlib.aclosing(states):
                async for state in states:
                    if isinstance(state, Done):
                        await asyncio.to_thread(row.fill, document.text, state)
        except Exception as error:
            row.error = error_message(error)


def _last_view(rows: list[BatchRow], sentence: str = "", kind: str = "quiet") -> View:
    finished = [row.as_record() for row in rows if row.summary or row.error]
    line = f"{sentence} {progress(rows)}".strip()
    return View(table_html(rows), status(line, "done" if finished and kind == "quiet" else kind), finished)
