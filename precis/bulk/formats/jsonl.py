"""JSONL: one JSON object a line. The line stays as it is, and the added columns go before its closing brace."""

import json
from collections.abc import Iterator
from typing import IO, Any

from precis.bulk.files import Source
from precis.bulk.formats.base import MAX_RECORD, Format, Row


class JsonlFormat(Format):
    """JSON lines in UTF-8, with or without a byte order mark."""

    def check(self, sources: list[Source]) -> None:
        """Looks at the first row only."""
        first = sources[0]
        with first.open() as raw:
            row = next(self.read(first.decompressed(raw), 0), None)
        try:
            value = json.loads(row.content) if row else None
        except (ValueError, RecursionError):
            return  # one bad row among others
        if isinstance(value, dict):
            self.columns.check(list(value), f"The first row of {first.name}")

    def read(self, stream: IO[bytes], skip: int) -> Iterator[Row]:
        """Blank lines count and are skipped."""
        number = 0
        while line := stream.readline(MAX_RECORD):
            number += 1
            too_long = len(line) == MAX_RECORD and not line.endswith(b"\n")
            rest = line
            while too_long and rest and not rest.endswith(b"\n"):
                rest = stream.readline(MAX_RECORD)
            if number <= skip:
                continue
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if too_long:
                yield Row(number, "", error=f"The line is longer than {MAX_RECORD >> 20} MiB.")
            elif line.strip():
                yield self._parse(number, line)

    def _parse(self, number: int, line: bytes) -> Row:
        try:
            text = line.decode("utf-8").strip()
        except UnicodeDecodeError:
            return Row(number, line.decode("utf-8", "backslashreplace"), error="The line is not UTF-8.")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return Row(number, text, error="The line is not valid JSON.")
        if not isinstance(value, dict):
            return Row(number, text, error="The line is not a JSON object.")
        for name in self.columns.added:
            if name in value:
                return Row(number, text, error=f"The row has a column {name} already.")
        return Row(number, text).set_document(value.get(self.columns.document), self.columns.document)

    def encode(self, rows: list[Row], added: list[dict[str, Any]]) -> bytes:
        """A line for each row."""
        return "".join(
            f"{row.content[:-1].rstrip()}, {json.dumps(values, ensure_ascii=False)[1:]}\n"
            for row, values in zip(rows, added, strict=True)
        ).encode()
