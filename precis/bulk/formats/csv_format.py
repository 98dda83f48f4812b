"""CSV: records with commas under a header, in UTF-8. Every value stays the text it was."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import IO, Any

from precis.bulk.errors import BulkError
from precis.bulk.files import Source
from precis.bulk.formats.base import MAX_RECORD, Columns, Format, Row


class CsvFormat(Format):
    """CSV as the module csv reads it strictly; all inputs have the same header."""

    def __init__(self, columns: Columns) -> None:
        super().__init__(columns)
        self.names: list[str] = []
        csv.field_size_limit(MAX_RECORD)

    def check(self, sources: list[Source]) -> None:
        """Reads all headers, which have to be equal."""
        for source in sources:
            with source.open() as raw:
                names = next(_records(source.decompressed(raw)), None)
            if not isinstance(names, list):
                raise BulkError(f"{source.name} has no header.")
            self.columns.check(names, source.name)
            if len(set(names)) < len(names):
                raise BulkError(f"{source.name} has two columns of one name.")
            if self.names and names != self.names:
                raise BulkError(f"{source.name} has another header than {sources[0].name}.")
            self.names = names

    def read(self, stream: IO[bytes], skip: int) -> Iterator[Row]:
        """Blank lines count and are skipped."""
        records = _records(stream)
        next(records, None)
        for number, record in enumerate(records, 1):
            if number > skip and record:
                yield self._parse(number, record)

    def _parse(self, number: int, record: list[str] | csv.Error) -> Row:
        if isinstance(record, csv.Error):
            return Row(number, None, error=f"The record is not valid CSV: {record}.")
        try:
            "".join(record).encode()
        except UnicodeEncodeError:
            escaped = [value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for value in record]
            return Row(number, escaped, error="The record is not UTF-8.")
        if len(record) != len(self.names):
            return Row(number, record, error=f"The record has {len(record)} values for {len(self.names)} columns.")
        column = self.columns.document
        return Row(number, record).set_document(record[self.names.index(column)], column)

    def header(self) -> bytes:
        """The line with the columns' names."""
        return _lines([self.names + self.columns.added])

    def encode(self, rows: list[Row], added: list[dict[str, Any]]) -> bytes:
        """A record for each row; booleans and lists are those of JSON."""
        return _lines(
            row.content + [json.dumps(value) if isinstance(value, bool | list) else value for value in values.values()]
            for row, values in zip(rows, added, strict=True)
        )


def _records(stream: IO[bytes]) -> Iterator[list[str] | csv.Error]:
    """The records as lists of fields, [] for a blank line; after an error, which is yielded, the next line follows."""
    reader = csv.reader(
        io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline=""), strict=True
    )
    while True:
        try:
            yield next(reader)
        except csv.Error as error:
            yield error
        except StopIteration:
            return


def _lines(records: Iterable[list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(records)
    return text.getvalue().encode()
