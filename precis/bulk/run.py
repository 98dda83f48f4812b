"""Rows through the engine in windows: sorted by length inside, written in order, a bounded number in flight.

Neighbours in the running batch should be of like length. Every second window is sorted downwards, so that they are
where two windows meet, too; and a window begins while the last rows of the one before it are decoded.
"""

import contextlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from precis import Engine, EngineClosed, EngineError, EngineFull, GenerationParams, Summary, TextError
from precis.bulk.errors import BulkError
from precis.bulk.files import DAMAGED, Source, compressor, decompressed, kind_of
from precis.bulk.rows import Format, Row

ROWS, CHARACTERS = 256, 8 << 20  # a window ends with the first of both
OPEN = 3  # windows that are held at once, at most
IN_FLIGHT = 256  # rows that the engine has been given: several times what it decodes at once
FAILURES = 64  # rows in a row on which the engine failed: no row is to blame then


@dataclass(frozen=True)
class Mark:
    """How far a run is: the file and row that were read last and the bytes of all inputs up to there, rows written and
    rejected, bytes of both files."""

    file: int = 0
    row: int = 0
    read: int = 0
    written: int = 0
    rejected: int = 0
    bytes: int = 0
    reject_bytes: int = 0
    finished: bool = False

    @property
    def done(self) -> int:
        """Rows that need no more work."""
        return self.written + self.rejected


@dataclass
class Window:
    """Rows of input `file`, `outcomes` by row: a summary, or the reason why there is none."""

    file: int
    rows: list[Row] = field(default_factory=list)
    outcomes: list[Summary | str | None] = field(default_factory=list)
    left: int = 0
    read: int = 0  # bytes of all inputs up to its end
    size: int = 0  # those of them that are its own

    def close(self, read: int, before: int) -> "Window":
        """All rows are there."""
        self.read, self.size = read, read - before
        self.outcomes = [row.fault or None for row in self.rows]
        self.left = self.outcomes.count(None)
        return self

    def part(self, form: Format, name: str, compress: Callable[[bytes], bytes]) -> "Part":
        """What is written of it; `name` is its file's."""
        kept: list[Row] = []
        added: list[dict[str, Any]] = []
        rejects: list[str] = []
        for row, outcome in zip(self.rows, self.outcomes, strict=True):
            if isinstance(outcome, Summary):
                kept.append(row)
                added.append(form.columns.values(outcome))
            else:
                reject = {"file": name, "row": row.number, "reason": outcome, "content": form.told(row)}
                rejects.append(json.dumps(reject, ensure_ascii=False) + "\n")
        lost = "".join(rejects).encode("utf-8", "backslashreplace")
        rows = compress(form.encode(kept, added))
        return Part(self.file, self.rows[-1].number, self.read, len(kept), len(rejects), rows, lost)


@dataclass(frozen=True)
class Part:
    """A finished window as bytes for the output and the rejects file, and where it ends in input `file`."""

    file: int
    row: int
    read: int
    written: int
    rejected: int
    rows: bytes
    rejects: bytes


@dataclass(frozen=True)
class BulkJob:
    """Everything that a run needs to know, wherever its parts are done. `threads` None is one a core."""

    sources: list[Source]
    form: Format
    compression: str
    bundle: str
    device: str
    threads: int | None
    generation: GenerationParams

    def load(self) -> Engine:
        return Engine.load(self.bundle, device=self.device, threads=self.threads)

    def part(self, window: Window) -> Part:
        """A finished window's bytes."""
        return window.part(self.form, self.sources[window.file].name, compressor(self.compression))


def parts(job: BulkJob, mark: Mark, done: Callable[[int, float], None]) -> Iterator[Part]:
    """The job's work after `mark`, in order, on this machine. `done` is told of rows and of bytes read for them."""
    with contextlib.closing(job.load()) as engine:
        feeder = Feeder(engine, job.generation, lambda window: done(1, window.size / len(window.rows)))
        yield from map(job.part, feeder.run(windows(job.sources, job.form, mark)))


def windows(sources: list[Source], form: Format, mark: Mark) -> Iterator[Window]:
    """The rows after `mark`; no window spans two files. Raises BulkError for a damaged file."""
    for file in range(mark.file, len(sources)):
        yield from file_windows(sources, form, file, mark)


def file_windows(sources: list[Source], form: Format, file: int, mark: Mark) -> Iterator[Window]:
    """The rows of sources[file] that are after `mark`."""
    source, before = sources[file], sum(source.size for source in sources[:file])
    last, read = (mark.row, mark.read) if file == mark.file else (0, before)
    with source.open() as raw:
        window, characters = Window(file), 0
        try:
            for row in form.read(decompressed(raw, kind_of(source.name)[1]), last):
                window.rows.append(row)
                last = row.number
                characters += len(row.document)
                if len(window.rows) == ROWS or characters >= CHARACTERS:
                    yield window.close(before + form.position(raw, source, last), read)
                    read = window.read
                    window, characters = Window(file), 0
        except DAMAGED as error:
            raise BulkError(f"{source.name} is cut short or damaged after row {last}: {error}") from error
    if window.rows:
        yield window.close(before + source.size, read)


class Feeder:
    """Keeps the engine busy with windows. `done` is told the window of each row that has its outcome."""

    def __init__(
        self, engine: Engine, generation: GenerationParams, done: Callable[[Window], None] = lambda _: None
    ) -> None:
        self._engine, self._generation, self._done = engine, generation, done
        self._answers: SimpleQueue = SimpleQueue()
        self._flying = 0
        self._failures = 0

    def run(self, given: Iterable[Window]) -> Iterator[Window]:
        """The windows in order, each when all its outcomes are there. Raises BulkError when the engine fails on all."""
        held: deque[Window] = deque()
        for number, window in enumerate(given):
            held.append(window)
            order = sorted(range(len(window.rows)), key=lambda place, rows=window.rows: len(rows[place].document))
            for place in order[:: -1 if number % 2 else 1]:
                while self._flying >= IN_FLIGHT:
                    self._take()
                    while held and not held[0].left:
                        yield held.popleft()
                if window.outcomes[place] is None:
                    self._submit(window, place)
                else:
                    self._done(window)
            while len(held) >= OPEN and held[0].left:
                self._take()
            while held and not held[0].left:
                yield held.popleft()
        while held:
            while held[0].left:
                self._take()
            yield held.popleft()

    def _submit(self, window: Window, place: int, again: bool = False) -> None:
        while True:
            try:
                future = self._engine.submit(window.rows[place].document, self._generation)
            except EngineFull:
                if self._flying:
                    self._take()
                else:  # somebody else fills it
                    time.sleep(0.1)
            except TextError as error:
                self._settle(window, place, str(error))
                return
            else:
                self._flying += 1
                future.add_done_callback(lambda future: self._answers.put((future, window, place, again)))
                return

    def _take(self) -> None:
        """Waits for one answer. A row on which the engine failed gets a second try: it may have been its company."""
        future, window, place, again = self._answers.get()
        self._flying -= 1
        try:
            outcome = future.result()
        except EngineClosed:
            raise
        except EngineError as error:
            if not again:
                self._submit(window, place, again=True)
                return
            self._failures += 1
            if self._failures >= FAILURES:
                raise BulkError(f"The engine failed on {FAILURES} rows in a row. The last reason: {error}") from error
            outcome = str(error)
        else:
            self._failures = 0
        self._settle(window, place, outcome)

    def _settle(self, window: Window, place: int, outcome: Summary | str) -> None:
        window.outcomes[place] = outcome
        window.left -= 1
        self._done(window)
