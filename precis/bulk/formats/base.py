"""What every file format has in common: rows, and how a format reads and writes them."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from precis.bulk.errors import BulkError
from precis.bulk.files import Source
from precis.bulk.formats.columns import Columns
from precis.errors import TextError
from precis.text.validation import check_text

MAX_RECORD = 64 << 20  # bytes of a JSONL line, characters of a CSV field: more is a broken file, not a document
SHOWN = 1 << 20  # of such a record, in the rejects file


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
            return self
        try:
            check_text(value, column)
            self.document = value
        except TextError as error:
            self.error = str(error)
        return self


class Format(ABC):
    """Reads rows of one file format, and encodes them so that encoded rows can be concatenated."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.partitions: dict[str, type] = {}  # columns that stand in the names of the files' folders

    def check(self, sources: list[Source]) -> None:
        """Checks folders and beginnings of all inputs. Raises BulkError."""
        self.partitions = partition_types(sources)
        for source in sources:
            self.columns.check_free(list(self.partitions), f"The folder of {source.name}")
        self.check_files(sources)

    @abstractmethod
    def check_files(self, sources: list[Source]) -> None:
        """Checks the beginnings of all inputs. Raises BulkError."""

    @abstractmethod
    def read(self, stream: IO[bytes], skip: int) -> Iterator[Row]:
        """The rows of an opened file after its first `skip`."""

    @abstractmethod
    def encode(self, rows: list[Row], added: list[dict[str, Any]]) -> bytes:
        """The rows, each with the columns that are added to it: those of `added_types`, in any order."""

    @property
    def added_types(self) -> dict[str, type]:
        """All columns that the output has and the files do not, in their order."""
        return {**self.partitions, **self.columns.types}

    def partition_values(self, source: Source) -> dict[str, Any]:
        """The values of the partition columns of all rows of a file; None is a null."""
        values = dict(source.partitions)
        return {
            name: None if (value := values[name]) is None else kind(value) for name, kind in self.partitions.items()
        }

    def header(self) -> bytes:
        """What an output begins with."""
        return b""

    def position(self, raw: IO[bytes], source: Source, row: int) -> int:
        """About how many bytes of the file hold its first `row` rows, which were read from `raw`."""
        return raw.tell()

    def rejected(self, row: Row) -> Any:
        """A rejected row's content in JSON's types. Never raises: else one bad row would end the run."""
        return row.content

    def finish(self, partial: Path) -> Path:
        """Makes the final file from `partial`, which holds header and encoded rows; here they are the same."""
        return partial


def partition_types(sources: list[Source]) -> dict[str, type]:
    """The partition columns of all files, which must be the same: int if all values are written as such, else str.

    "07" is text: as a number it would lose its zero.
    """
    first = dict(sources[0].partitions)
    for source in sources:
        if list(dict(source.partitions)) != list(first):
            raise BulkError(f"{source.name} lies in folders with other partition columns than {sources[0].name}.")
    return {name: int if all(_is_int32(dict(source.partitions)[name]) for source in sources) else str for name in first}


def _is_int32(value: str | None) -> bool:
    return value is None or (
        re.fullmatch(r"0|-?[1-9]\d{0,9}", value, re.ASCII) is not None and -(2**31) <= int(value) < 2**31
    )
