"""A bulk run's work: windows of rows read from the inputs, and the bytes that each of them adds to the output."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from precis import Engine, GenerationParams
from precis.bulk.errors import BulkError, short_reason
from precis.bulk.files import DAMAGE_ERRORS, Source, compress
from precis.bulk.formats import Answer, Format, Row
from precis.params import TrustParams

WINDOW_ROWS, WINDOW_CHARACTERS = 256, 8 << 20  # a window ends at the first of both


@dataclass(frozen=True)
class Checkpoint:
    """How far a run is: the last file and row, the bytes of all inputs up to there, rows and bytes of both outputs.

    `file_ended` says whether that row was the last of its file.
    """

    file: int = 0
    row: int = 0
    file_ended: bool = False
    bytes_read: int = 0
    written: int = 0
    rejected: int = 0
    output_bytes: int = 0
    reject_bytes: int = 0
    finished: bool = False

    @property
    def done(self) -> int:
        """Rows that need no more work."""
        return self.written + self.rejected

    @property
    def next_file(self) -> int:
        """The input in which the run continues."""
        return self.file + self.file_ended


@dataclass
class Window:
    """Consecutive rows of input `file` after its row `after`; the `last` window of a file may have none.

    `outcomes` holds each row's answer, or the reason why there is none.
    """

    file: int
    rows: list[Row] = field(default_factory=list)
    outcomes: list[Answer | str | None] = field(default_factory=list)
    pending: int = 0  # rows without an outcome
    bytes_read: int = 0  # of all inputs up to the window's end
    size: int = 0  # in bytes of its input
    after: int = 0
    last: bool = False

    def close(self, bytes_read: int, bytes_before: int) -> "Window":
        """Ends the window: no more rows are added."""
        self.bytes_read, self.size = bytes_read, bytes_read - bytes_before
        self.outcomes = [row.error or None for row in self.rows]
        self.pending = self.outcomes.count(None)
        return self


@dataclass(frozen=True)
class Part:
    """A finished window as bytes for the output and the rejects file: input `file` after row `after` up to `row`."""

    file: int
    after: int
    row: int
    last: bool
    bytes_read: int
    written: int
    rejected: int
    output: bytes
    rejects: bytes


@dataclass(frozen=True)
class BulkJob:
    """What is to be done, on whatever machine. `compression` is the output's; `threads` None is one per core."""

    sources: list[Source]
    row_format: Format
    compression: str | None
    bundle: str
    device: str
    threads: int | None
    generation: GenerationParams
    trust: TrustParams

    def load_engine(self) -> Engine:
        """An engine on the job's bundle and device. Raises EngineError."""
        return Engine.load(self.bundle, device=self.device, threads=self.threads)

    def windows(self, start: Checkpoint) -> Iterator[Window]:
        """The rows after `start`; no window spans two files. Raises BulkError for a damaged file."""
        for file in range(start.next_file, len(self.sources)):
            yield from self.file_windows(file, start)

    def file_windows(self, file: int, start: Checkpoint) -> Iterator[Window]:
        """The rows of input `file` after `start`, the last window marked. Raises BulkError for a damaged file."""
        source, before = self.sources[file], sum(source.size for source in self.sources[:file])
        row_number, bytes_read = (start.row, start.bytes_read) if file == start.file else (0, before)
        with source.open() as raw:
            window, characters = Window(file, after=row_number), 0
            try:
                for row in self.row_format.read(source.decompressed(raw), row_number):
                    window.rows.append(row)
                    row_number = row.number
                    characters += len(row.document)
                    if len(window.rows) == WINDOW_ROWS or characters >= WINDOW_CHARACTERS:
                        position = before + self.row_format.position(raw, source, row_number)
                        yield window.close(position, bytes_read)
                        bytes_read, window, characters = position, Window(file, after=row_number), 0
            except DAMAGE_ERRORS as error:
                raise BulkError(
                    f"{source.name} is cut short or damaged after row {row_number}: {short_reason(error)}."
                ) from error
        window.last = True
        yield window.close(before + source.size, bytes_read)

    def part(self, window: Window) -> Part:
        """A finished window's bytes."""
        source = self.sources[window.file]
        rows, added, rejects = [], [], []
        partition = self.row_format.partition_values(source)
        for row, outcome in zip(window.rows, window.outcomes, strict=True):
            if isinstance(outcome, Answer):
                rows.append(row)
                added.append({**partition, **self.row_format.columns.values(outcome)})
            else:
                content = self.row_format.rejected(row)
                reject = {"file": source.name, "row": row.number, "reason": outcome, "content": content}
                rejects.append(json.dumps(reject, ensure_ascii=False, allow_nan=False) + "\n")
        return Part(
            file=window.file,
            after=window.after,
            row=window.rows[-1].number if window.rows else window.after,
            last=window.last,
            bytes_read=window.bytes_read,
            written=len(rows),
            rejected=len(rejects),
            output=compress(self.row_format.encode(rows, added), self.compression) if rows else b"",
            rejects="".join(rejects).encode("utf-8", "backslashreplace"),
        )
