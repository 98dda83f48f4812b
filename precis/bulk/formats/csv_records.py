"""Reads the records of a CSV file one by one, so that a fault in one of them takes no other with it."""

import csv
import io
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from precis.bulk.formats.base import MAX_RECORD, SHOWN
from precis.bulk.formats.utf8 import CHUNK, Utf8Stream

DELIMITERS = {"csv": ",;\t|", "tsv": "\t"}  # by format; the first that gives the document's column is taken


@dataclass(frozen=True)
class Dialect:
    """How a file is written: between fields, after records, and whether it begins with a byte order mark."""

    delimiter: str = ","
    line_end: str = "\n"
    bom: bool = False


@dataclass(frozen=True)
class Fault:
    """A record that is not valid CSV: the line in which it begins, that line's text, and what is wrong."""

    line: int
    text: str
    reason: str


class CsvTable:
    """An opened file with its header and dialect; `records` continues after the header."""

    def __init__(self, stream: IO[bytes], delimiters: str, column: str) -> None:
        """The delimiter is the first of `delimiters` with which the header names `column`.

        With none, `names` are those of the delimiter that finds most of them; [] means that there is no header.
        """
        csv.field_size_limit(MAX_RECORD)  # of the whole process; here, since a cluster's workers read, too
        utf8 = Utf8Stream(stream)
        buffered = io.BufferedReader(utf8, CHUNK)
        self._lines = _Lines(io.TextIOWrapper(buffered, encoding="utf-8", errors="surrogateescape", newline=""))
        headers = {delimiter: self._header(delimiter) for delimiter in delimiters}
        delimiter = next((key for key, names in headers.items() if column in names), None)
        delimiter = delimiter or max(headers, key=lambda key: len(headers[key]))
        self.names = self._header(delimiter)
        last = self._lines.taken[-1] if self._lines.taken else ""
        # Without any line end there is one record, and it does not matter.
        line_end = next((end for end in ("\r\n", "\n", "\r") if last.endswith(end)), "\n")
        self.dialect = Dialect(delimiter, line_end, utf8.bom)
        self._lines.taken.clear()

    def _header(self, delimiter: str) -> list[str]:
        """The first record that is not a blank line; [] if there is none or it is not valid with this delimiter."""
        self._lines.rewind()
        reader = csv.reader(self._lines, strict=True, delimiter=delimiter)
        try:
            return next((record for record in reader if record), [])
        except csv.Error:
            return []

    def records(self) -> Iterator[list[str] | Fault]:
        """The records as lists of fields, [] for a blank line.

        Where a record is not valid, a Fault stands for its first line, and the lines after that are read as records of
        their own: a quote that is not closed would else take all rows up to the next quote or the end of the file.
        """
        lines = self._lines
        reader = csv.reader(lines, strict=True, delimiter=self.dialect.delimiter)
        while True:
            lines.taken.clear()
            try:
                yield next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                text = lines.keep_first()
                yield Fault(lines.number, text.rstrip("\r\n"), _reason(error))


class _Lines:
    """The lines of a text, some of which can be given back; csv.reader iterates over it."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._next: deque[str] = deque()  # given back
        self.taken: list[str] = []  # since it was last emptied
        self.number = 0  # of the last line that was taken

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._next.popleft() if self._next else self._read()
        if not line:
            raise StopIteration
        self.number += 1
        self.taken.append(line)
        if isinstance(line, _LongLine):
            raise csv.Error("field limit")
        return line

    def _read(self) -> str:
        line = self._text.readline(MAX_RECORD)
        if len(line) < MAX_RECORD or line.endswith(("\r", "\n")):
            return line
        while (rest := self._text.readline(MAX_RECORD)) and not rest.endswith(("\r", "\n")):
            pass
        return _LongLine(line[:SHOWN])

    def rewind(self) -> None:
        """Gives all taken lines back."""
        self._give_back(self.taken)
        self.taken = []

    def keep_first(self) -> str:
        """Gives all taken lines back but the first, and returns that."""
        first, *rest = self.taken
        self._give_back(rest)
        self.taken = []
        return first

    def _give_back(self, lines: list[str]) -> None:
        self._next.extendleft(reversed(lines))
        self.number -= len(lines)


class _LongLine(str):
    """The beginning of a line that is too long to be read."""


def _reason(error: csv.Error) -> str:
    message = str(error)
    if "field limit" in message:
        return f"it is longer than {MAX_RECORD:,} characters"
    return "a quote in it is not closed" if "end of data" in message else "a quote in it is not closed or not doubled"
