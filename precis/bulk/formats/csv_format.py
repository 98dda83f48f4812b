"""CSV: records under a header, with commas, semicolons, tabs or bars. Every value stays the text it was."""

import csv
import json
from collections.abc import Iterable, Iterator
from typing import IO, Any

from precis.bulk.errors import BulkError
from precis.bulk.files import Source, damage_as_error
from precis.bulk.formats.base import Format, Row
from precis.bulk.formats.columns import Columns
from precis.bulk.formats.csv_records import DELIMITERS, CsvTable, Dialect, Fault

BOM = "\ufeff"


class CsvFormat(Format):
    """CSV as the module csv reads it strictly; all inputs have the same header. The output is in UTF-8.

    It is written with the delimiter, the line ends and the byte order mark of the first input.
    """

    def __init__(self, columns: Columns, name: str = "csv") -> None:
        super().__init__(columns)
        self._delimiters = DELIMITERS[name]
        self.names: list[str] = []
        self.dialect = Dialect()

    def check_files(self, sources: list[Source]) -> None:
        """Reads all headers, which have to be equal."""
        for source in sources:
            with source.open() as raw, damage_as_error(source):
                table = self._table(source.decompressed(raw))
            names = table.names
            if not names:
                raise BulkError(f"{source.name} has no header, or one that is not valid CSV.")
            if not _is_unicode(names):
                raise BulkError(f"The header of {source.name} is not UTF-8; convert the file.")
            self.columns.check(names, source.name)
            if self.names and names != self.names:
                raise BulkError(f"{source.name} has another header than {sources[0].name}.")
            if not self.names:
                self.names, self.dialect = names, table.dialect
        self.partitions = {name: str for name in self.partitions if name not in self.names}

    def _table(self, stream: IO[bytes]) -> CsvTable:
        return CsvTable(stream, self._delimiters, self.columns.document)

    def read(self, stream: IO[bytes], skip: int) -> Iterator[Row]:
        """Blank lines count and are skipped."""
        document = self.names.index(self.columns.document)
        for number, record in enumerate(self._table(stream).records(), 1):
            if number > skip and record:
                yield self._parse(number, record, document)

    def _parse(self, number: int, record: list[str] | Fault, document: int) -> Row:
        if isinstance(record, Fault):
            reason = f"The record in line {record.line} is not valid CSV: {record.reason}."
            return Row(number, _readable([record.text])[0], error=reason)
        if not _is_unicode(record):
            return Row(number, _readable(record), error="The record is not UTF-8.")
        if len(record) != len(self.names):
            return Row(number, record, error=f"The record has {len(record)} values for {len(self.names)} columns.")
        return Row(number, record).set_document(record[document], self.columns.document)

    def header(self) -> bytes:
        """The line with the columns' names."""
        return (BOM.encode() if self.dialect.bom else b"") + self._encode([[*self.names, *self.added_types]])

    def encode(self, rows: list[Row], added: list[dict[str, Any]]) -> bytes:
        """A record for each row; booleans and lists are those of JSON, nulls are empty."""
        return self._encode(
            [*row.content, *(_text(values[name]) for name in self.added_types)]
            for row, values in zip(rows, added, strict=True)
        )

    def _encode(self, records: Iterable[list[str]]) -> bytes:
        # The writer quotes the characters of its line terminator, and the reader ends a record at either of the two.
        lines = _Lines()
        csv.writer(lines, delimiter=self.dialect.delimiter, lineterminator="\r\n").writerows(records)
        return "".join(line[:-2] + self.dialect.line_end for line in lines).encode()


class _Lines(list[str]):
    """A file for csv.writer, which writes a whole record at a time."""

    write = list.append


def _text(value: Any) -> str:
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, bool | list) else str(value)


def _is_unicode(values: list[str]) -> bool:
    try:
        "".join(values).encode()
    except UnicodeEncodeError:  # bytes that are not UTF-8 were read as surrogates
        return False
    return True


def _readable(values: list[str]) -> list[str]:
    return [value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for value in values]
