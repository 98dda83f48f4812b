"""What every file format has in common: rows, the added columns, and how a format reads and writes them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from precis.bulk.errors import BulkError
from precis.bulk.files import Source
from precis.request import Summary
from precis.text import is_blank

MAX_RECORD = 64 << 20  # bytes of a JSONL line, characters of a CSV field: more is a broken file, not a document
COUNTS = (
    "input_tokens",
    "output_tokens",
    "chunks",
    "truncated",
    "truncated_tokens",
    "finish_reason",
    "already_short",
    "unsupported_language",
)


@dataclass(slots=True)
class Row:
    """A row of an input file. `content` is what its format carries over; `error` says why it has no document.

    `number` counts from 1: a JSONL file's lines, a CSV file's records after the header, a Parquet file's rows.
    """

    number: int
    content: Any
    document: str = ""
    error: str = ""

    def set_document(self, value: Any, column: str) -> "Row":
        """This row with `value`, found in `column`, as its document, or with the reason why it is none."""
        if value is None:
            self.error = f"The row has no {column}."
        elif not isinstance(value, str):
            self.error = f"{column} is not text."
        elif is_blank(value):
            self.error = f"{column} is empty."
        else:
            self.document = value
            try:
                value.encode()
            except UnicodeEncodeError:  # JSON can escape half of a surrogate pair
                self.error = f"{column} has a surrogate by itself, which is no character."
        return self


@dataclass(frozen=True)
class Columns:
    """The names of the column that is read and of the one that the summaries are written to."""

    document: str
    summary: str

    @property
    def added(self) -> list[str]:
        """The columns that a run adds."""
        return [self.summary, *COUNTS]

    def values(self, summary: Summary) -> dict[str, Any]:
        """The added columns of one row."""
        truncated = summary.truncated_tokens > 0
        counts = {name: truncated if name == "truncated" else getattr(summary, name) for name in COUNTS}
        return {self.summary: summary.text, **counts}

    def check(self, names: list[str], where: str) -> None:
        """Raises BulkError if the document's column is missing or an added one exists already."""
        if self.document not in names:
            raise BulkError(
                f"{where} has no column {self.document}; name one of {', '.join(map(str, names))} with --column."
            )
        for name in self.added:
            if name in names:
                hint = "choose another name with --summary-column" if name == self.summary else "rename it"
                raise BulkError(f"{where} has a column {name} already, which the summaries would take; {hint}.")


class Format(ABC):
    """Reads rows of one file format, and encodes them so that encoded rows can be concatenated."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    @abstractmethod
    def check(self, sources: list[Source]) -> None:
        """Checks the beginnings of all inputs. Raises BulkError."""

    @abstractmethod
    def read(self, stream: IO[bytes], skip: int) -> Iterator[Row]:
        """The rows of an opened file after its first `skip`."""

    @abstractmethod
    def encode(self, rows: list[Row], added: list[dict[str, Any]]) -> bytes:
        """The rows, each with the columns that are added to it."""

    def header(self) -> bytes:
        """What an output begins with."""
        return b""

    def position(self, raw: IO[bytes], source: Source, row: int) -> int:
        """About how many bytes of the file hold its first `row` rows, which were read from `raw`."""
        return raw.tell()

    def rejected(self, row: Row) -> Any:
        """A rejected row's content in JSON's types."""
        return row.content

    def finish(self, partial: Path) -> Path:
        """Makes the final file from `partial`, which holds header and encoded rows; here they are the same."""
        return partial
