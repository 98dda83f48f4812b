"""Rows in and out: JSONL, CSV and Parquet. What a row holds besides its document is carried over as it is."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from precis.bulk.errors import BulkError
from precis.bulk.files import Source, arrow, decompressed, kind_of
from precis.request import Summary

LONGEST = 64 << 20  # bytes of a JSONL line, characters of a CSV field: more is a broken file, not a document
BATCH = 256  # rows of a Parquet file read at once


@dataclass(slots=True)
class Row:
    """A row of an input file. `raw` is what its format carries over; `fault` says why it has no document."""

    number: int  # the line of a JSONL file, the record of a CSV file without its header, the row of a Parquet file
    raw: Any
    document: str = ""
    fault: str = ""


@dataclass(frozen=True)
class Columns:
    """Names of the column that is read and of those that are added."""

    document: str
    summary: str

    @property
    def added(self) -> list[str]:
        return [
            self.summary,
            "input_tokens",
            "output_tokens",
            "chunks",
            "truncated",
            "truncated_tokens",
            "finish_reason",
        ]

    def values(self, summary: Summary) -> dict[str, Any]:
        """What is added to a row."""
        told = (
            summary.text,
            summary.input_tokens,
            summary.output_tokens,
            summary.chunks,
            summary.truncated_tokens > 0,
            summary.truncated_tokens,
            summary.finish_reason,
        )
        return dict(zip(self.added, told, strict=True))

    def check(self, present: list[str], where: str) -> None:
        """Raises BulkError where the document's column is missing or an added one is there already."""
        if self.document not in present:
            names = ", ".join(map(str, present))
            raise BulkError(f"{where} has no column {self.document}; name one of {names} with --column.")
        for name in self.added:
            if name in present:
                hint = "choose another name with --summary-column" if name == self.summary else "rename it"
                raise BulkError(f"{where} has a column {name} already, which the summaries would take; {hint}.")


class Format(Protocol):
    """How rows of one file format are read, and written behind one another."""

    columns: Columns

    def check(self, sources: list[Source]) -> None:
        """Looks at the beginnings of all inputs. Raises BulkError."""

    def read(self, stream: IO[bytes], skip: int) -> Iterator[Row]:
        """The rows of an opened file after its first `skip`."""

    def position(self, raw: IO[bytes], source: Source, row: int) -> int:
        """About how many bytes of the file hold its first `row` rows, which were read from `raw`."""

    def header(self) -> bytes:
        """What an output begins with."""

    def encode(self, rows: list[Row], added: list[dict[str, Any]]) -> bytes:
        """Rows with what is added to each."""

    def told(self, row: Row) -> Any:
        """A rejected row's content, for JSON."""

    def finish(self, partial: Path) -> Path:
        """The final file, made of `partial`, which is header and encoded rows: itself, or one beside it."""


class Jsonl:
    """One JSON object a line. The line is kept as it is, and what is added goes before its closing brace."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def check(self, sources: list[Source]) -> None:
        first = sources[0]
        with first.open() as raw:
            row = next(self.read(decompressed(raw, kind_of(first.name)[1]), 0), None)
        try:
            value = json.loads(row.raw) if row else None
        except (ValueError, RecursionError):
            return  # a bad row among others
        if isinstance(value, dict):
            self.columns.check(list(value), f"The first row of {first.name}")

    def read(self, stream: IO[bytes], skip: int) -> Iterator[Row]:
        number = 0
        while line := stream.readline(LONGEST):
            number += 1
            cut = len(line) == LONGEST and not line.endswith(b"\n")
            rest = line
            while cut and rest and not rest.endswith(b"\n"):
                rest = stream.readline(LONGEST)
            if number <= skip:
                continue
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if cut:
                yield Row(number, "", fault=f"The line is longer than {LONGEST >> 20} MiB.")
            elif line.strip():
                yield self._row(number, line)

    def _row(self, number: int, line: bytes) -> Row:
        try:
            text = line.decode("utf-8").strip()
        except UnicodeDecodeError:
            return Row(number, line.decode("utf-8", "backslashreplace"), fault="The line is not UTF-8.")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return Row(number, text, fault="The line is not valid JSON.")
        if not isinstance(value, dict):
            return Row(number, text, fault="The line is not a JSON object.")
        for name in self.columns.added:
            if name in value:
                return Row(number, text, fault=f"The row has a column {name} already.")
        return with_document(Row(number, text), self.columns.document, value.get(self.columns.document))

    def position(self, raw: IO[bytes], source: Source, row: int) -> int:
        return raw.tell()

    def header(self) -> bytes:
        return b""

    def encode(self, rows: list[Row], added: list[dict[str, Any]]) -> bytes:
        return "".join(
            f"{row.raw[:-1].rstrip()}, {json.dumps(values, ensure_ascii=False)[1:]}\n"
            for row, values in zip(rows, added, strict=True)
        ).encode()

    def told(self, row: Row) -> Any:
        return row.raw

    def finish(self, partial: Path) -> Path:
        return partial


class Csv:
    """Records with commas under a header, in UTF-8. Every value stays the text it was."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.names: list[str] = []
        csv.field_size_limit(LONGEST)

    def check(self, sources: list[Source]) -> None:
        for source in sources:
            path = source.name
            with source.open() as raw:
                names = next(self._records(decompressed(raw, kind_of(path)[1])), None)
            if not isinstance(names, list):
                raise BulkError(f"{path} has no header.")
            self.columns.check(names, path)
            if len(set(names)) < len(names):
                raise BulkError(f"{path} has two columns of one name.")
            if self.names and names != self.names:
                raise BulkError(f"{path} has another header than {sources[0].name}.")
            self.names = names

    def read(self, stream: IO[bytes], skip: int) -> Iterator[Row]:
        records = self._records(stream)
        next(records, None)
        for number, record in enumerate(records, 1):
            if number > skip and record:
                yield self._row(number, record)

    def _records(self, stream: IO[bytes]) -> Iterator[list[str] | csv.Error]:
        """Lists of fields, empty ones of blank lines, and errors, after which it goes on with the next line."""
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
        reader = csv.reader(text, strict=True)
        while True:
            try:
                yield next(reader)
            except csv.Error as error:
                yield error
            except StopIteration:
                return

    def _row(self, number: int, record: list[str] | csv.Error) -> Row:
        if isinstance(record, csv.Error):
            return Row(number, None, fault=f"The record is not valid CSV: {record}.")
        try:
            "".join(record).encode()
        except UnicodeEncodeError:
            shown = [value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for value in record]
            return Row(number, shown, fault="The record is not UTF-8.")
        if len(record) != len(self.names):
            return Row(number, record, fault=f"The record has {len(record)} values for {len(self.names)} columns.")
        return with_document(
            Row(number, record), self.columns.document, record[self.names.index(self.columns.document)]
        )

    def position(self, raw: IO[bytes], source: Source, row: int) -> int:
        return raw.tell()

    def header(self) -> bytes:
        return self._lines([self.names + self.columns.added])

    def encode(self, rows: list[Row], added: list[dict[str, Any]]) -> bytes:
        return self._lines(
            row.raw + [str(value).lower() if isinstance(value, bool) else value for value in values.values()]
            for row, values in zip(rows, added, strict=True)
        )

    def _lines(self, records: Any) -> bytes:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(records)
        return text.getvalue().encode()

    def told(self, row: Row) -> Any:
        return row.raw

    def finish(self, partial: Path) -> Path:
        return partial


def with_document(row: Row, column: str, value: Any) -> Row:
    if value is None:
        row.fault = f"The row has no {column}."
    elif not isinstance(value, str):
        row.fault = f"{column} is not text."
    elif not value.strip():
        row.fault = f"{column} is empty."
    else:
        row.document = value
        try:
            value.encode()
        except UnicodeEncodeError:  # JSON can spell half of a character
            row.fault = f"{column} has a surrogate by itself, which is no character."
    return row


def format_of(kind: str, columns: Columns) -> Format:
    """The format by its name, "jsonl", "csv" or "parquet"."""
    if kind == "parquet":
        arrow()
        from precis.bulk.parquet import Parquet

        return Parquet(columns)
    return {"jsonl": Jsonl, "csv": Csv}[kind](columns)
