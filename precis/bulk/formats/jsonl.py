"""JSONL: one JSON object a line. The line stays as it is, and the added columns go before its closing brace."""

import io
import json
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from precis.bulk.errors import BulkError
from precis.bulk.files import Source, damage_as_error
from precis.bulk.formats.base import MAX_RECORD, SHOWN, Format, Row
from precis.bulk.formats.utf8 import CHUNK, Utf8Stream


class Line(NamedTuple):
    """What a row carries over: its text, and which of the partition columns it has itself."""

    text: str
    own: frozenset[str] = frozenset()


class JsonlFormat(Format):
    """JSON lines in UTF-8, UTF-16 or UTF-32; the output is in UTF-8."""

    def check_files(self, sources: list[Source]) -> None:
        """Looks at the first row only."""
        first = sources[0]
        with first.open() as raw, damage_as_error(first):
            row = next(self.read(first.decompressed(raw), 0), None)
        if row is None:
            return
        try:
            value = parse(row.content.text)
        except (ValueError, RecursionError):
            if "\r" in row.content.text:
                raise BulkError(
                    f"The lines of {first.name} end in carriage returns; convert them to line feeds."
                ) from None
            return  # one bad row among others
        if isinstance(value, dict):
            self.columns.check(list(value), f"The first row of {first.name}")

    def read(self, stream: IO[bytes], skip: int) -> Iterator[Row]:
        """Blank lines count and are skipped."""
        number, utf8 = 0, io.BufferedReader(Utf8Stream(stream), CHUNK)
        while line := utf8.readline(MAX_RECORD):
            number += 1
            too_long = len(line) == MAX_RECORD and not line.endswith(b"\n")
            rest = line
            while too_long and rest and not rest.endswith(b"\n"):
                rest = utf8.readline(MAX_RECORD)
            if number <= skip:
                continue
            if too_long:
                shown = line[:SHOWN].decode("utf-8", "backslashreplace")
                yield Row(number, Line(shown), error=f"The line is longer than {MAX_RECORD >> 20} MiB.")
            elif line.strip():
                yield self._parse(number, line)

    def _parse(self, number: int, line: bytes) -> Row:
        try:
            text = line.decode("utf-8").strip()
        except UnicodeDecodeError:
            return Row(number, Line(line.decode("utf-8", "backslashreplace")), error="The line is not UTF-8.")
        try:
            value = parse(text)
        except (ValueError, RecursionError):
            return Row(number, Line(text), error="The line is not valid JSON.")
        if not isinstance(value, dict):
            return Row(number, Line(text), error="The line is not a JSON object.")
        for name in self.columns.added:
            if name in value:
                return Row(number, Line(text), error=f"The row has a column {name} already.")
        own = frozenset(name for name in self.partitions if name in value)
        return Row(number, Line(text, own)).set_document(value.get(self.columns.document), self.columns.document)

    def encode(self, rows: list[Row], added: list[dict[str, Any]]) -> bytes:
        """A line for each row."""
        lines = []
        for row, values in zip(rows, added, strict=True):
            text, own = row.content
            new = {name: values[name] for name in self.added_types if name not in own}
            lines.append(f"{text[:-1].rstrip()}, {json.dumps(new, ensure_ascii=False)[1:]}\n")
        return "".join(lines).encode()

    def rejected(self, row: Row) -> Any:
        """The line as text."""
        return row.content.text


def parse(text: str) -> Any:
    """The value of a JSON text; numbers are floats, since Python refuses to read integers of thousands of digits."""
    return json.loads(text, parse_int=float)
