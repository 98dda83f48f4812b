"""Several documents at once: a table that fills as they are summarized, and its rows as CSV and JSONL."""

import asyncio
import contextlib
import csv
import io
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from bento.page import readers
from bento.page.admission import Line
from bento.page.grounding_view import summary_html
from bento.page.html import count, escape, status, table
from bento.page.options import defaults, generation
from bento.page.single import FAILED, KEEP, Runs
from bento.page.summarizing import REFUSALS, Done, Stopped, steps
from precis import Engine, GenerationParams
from precis.grounding.evidence import Evidence, find_evidence

log = logging.getLogger("precis.page")

MAX_FILES = 50
AT_ONCE = 2  # of one visitor's documents; each takes a place in the line like everybody's text
FRAME = 0.25  # seconds between two views of the table
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the beginning of one


@dataclass
class Row:
    """One document's line of the table; its fields are what is downloaded."""

    document: str
    summary: str = ""
    words: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    chunks: int = 0
    truncated_tokens: int = 0
    seconds: float = 0.0
    not_in_text: str = ""
    error: str = ""
    note: str = ""


class View(NamedTuple):
    """What one step changes, in the order of the outputs."""

    table: Any = KEEP
    status: Any = KEEP
    rows: Any = KEEP


class Batch:
    """The handlers of the second tab."""

    def __init__(self, engine: Engine, line: Line) -> None:
        self._engine, self._line = engine, line
        self._own = defaults(engine)
        self._runs = Runs()

    async def run(self, request: gr.Request, paths: list[str] | None, *options: Any) -> AsyncIterator[View]:
        """Reads and summarizes the files, and shows the table as it fills."""
        paths = paths or []
        if not paths or len(paths) > MAX_FILES:
            asked = (
                "Choose some files first."
                if not paths
                else f"At most {MAX_FILES} files at once; these are {len(paths)}."
            )
            yield View(status=status(asked, "wrong"))
            return
        with self._runs.begin(request.session_hash) as stop:
            try:
                asked, beams = generation(self._own, *options)
                async for view in self._views(paths, asked, beams, stop):
                    yield view
            except REFUSALS as error:
                yield View(status=status(str(error), "wrong"))

    def stop(self, request: gr.Request) -> None:
        """Ends the visitor's work; what is done stays."""
        self._runs.stop(request.session_hash)

    async def _views(
        self, paths: list[str], asked: GenerationParams, beams: int, stop: asyncio.Event
    ) -> AsyncIterator[View]:
        rows = [Row(Path(path).name) for path in paths]
        shown: dict[int, str] = {}  # summaries with their marks
        left = iter(range(len(paths)))

        async def work() -> None:
            for at in left:
                await self._summarize(paths[at], rows[at], shown, at, asked, beams, stop)

        workers = [asyncio.create_task(work()) for _ in range(AT_ONCE)]
        yield View(_table(rows, shown), status(_progress(rows), "busy"), None)
        try:
            while not all(worker.done() for worker in workers):
                await asyncio.wait(workers, timeout=FRAME)
                yield View(_table(rows, shown), status(_progress(rows), "busy"))
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        words = ("Stopped. " if stop.is_set() else "") + _progress(rows)
        done = [asdict(row) for row in rows if row.summary or row.error]
        yield View(_table(rows, shown), status(words, "done" if done else "quiet"), done)

    async def _summarize(
        self,
        path: str,
        row: Row,
        shown: dict[int, str],
        at: int,
        asked: GenerationParams,
        beams: int,
        stop: asyncio.Event,
    ) -> None:
        """Fills `row`. What goes wrong with one document is written into its row and stops no other."""
        if stop.is_set():
            return
        try:
            document = await readers.read(path)
            row.words, row.note = len(document.text.split()), document.note
            async with contextlib.aclosing(steps(self._engine, self._line, document.text, asked, beams, stop)) as work:
                async for step in work:
                    if isinstance(step, Done):
                        evidence = await asyncio.to_thread(find_evidence, document.text, step.summary.text)
                        _fill(row, step, evidence)
                        shown[at] = summary_html(step.summary.text, evidence.unsupported)
        except Stopped:
            pass
        except (*REFUSALS, readers.DocumentError) as error:
            row.error = str(error)
        except Exception:
            log.exception("A document of a batch failed")
            row.error = FAILED


def as_csv(rows: list[dict[str, Any]]) -> str:
    """RFC 4180 with a mark for Excel. A cell that a spreadsheet would take for a formula gets an apostrophe."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(asdict(Row(""))))
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "'" + value if str(value).startswith(FORMULA) else value for key, value in row.items()})
    return "\ufeff" + file.getvalue()


def as_jsonl(rows: list[dict[str, Any]]) -> str:
    """One JSON object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _fill(row: Row, done: Done, evidence: Evidence) -> None:
    summary = done.summary
    row.summary, row.seconds = summary.text, round(done.seconds, 2)
    row.input_tokens, row.output_tokens = summary.input_tokens, summary.output_tokens
    row.chunks, row.truncated_tokens = summary.chunks, summary.truncated_tokens
    row.not_in_text = ", ".join(dict.fromkeys(span.text for span in evidence.unsupported))


def _table(rows: list[Row], shown: dict[int, str]) -> str:
    cells = [
        [escape(row.document), _outcome(row, shown.get(at)), f"{row.words:,}" if row.words else "", _remarks(row)]
        for at, row in enumerate(rows)
    ]
    return table(["Document", "Summary", "Words read", "Remarks"], cells, "Summaries of your documents")


def _outcome(row: Row, shown: str | None) -> str:
    if row.error:
        return status(row.error, "wrong")
    return shown or '<span class="hint">waiting</span>'


def _remarks(row: Row) -> str:
    remarks = [f"{row.seconds:.1f} s" if row.summary else "", row.note]
    if row.chunks > 1:
        remarks.append(f"{row.chunks} chunks")
    if row.truncated_tokens:
        remarks.append(f"{count(row.truncated_tokens, 'token')} not read")
    return escape("; ".join(filter(None, remarks)))


def _progress(rows: list[Row]) -> str:
    done, wrong = sum(bool(row.summary) for row in rows), sum(bool(row.error) for row in rows)
    words = f"{done} of {count(len(rows), 'document')} summarized"
    return f"{words}; {wrong} could not be." if wrong else f"{words}."
