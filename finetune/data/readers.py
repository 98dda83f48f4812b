"""Reads documents and summaries row by row from files, so that a set of any size takes little memory."""

import codecs
import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from finetune.data.files import TEXT_PAIRS, DataFiles
from finetune.errors import UserError

Row = tuple[str | None, str | None]  # document and summary; None where there is none
PARQUET_ROWS, PARQUET_BUFFER = 256, 1 << 20  # read at once: rows, and bytes of a column
_ESCAPED_QUOTE = re.compile(r'(?<!\\)((?:\\\\)*)\\"')
LISTED_CHARACTERS = 200  # of the columns' names in a message
_MAX_FIELD = 2**31 - 1  # characters; Python's own limit is 131,072


@dataclass(frozen=True)
class Columns:
    """The names of the two columns that are read; all others are ignored."""

    document: str
    summary: str

    def check(self, path: Path | str, key: str, names: list[str]) -> None:
        """Raises UserError if `names`, the columns of `path` (data.`key`), lack one of the two or hold it twice."""
        if not names:
            raise UserError(f"data.{key}: {path} holds no rows.")
        for option, name in (("document", self.document), ("summary", self.summary)):
            if name not in names:
                listed = shorten(", ".join(names), LISTED_CHARACTERS, placeholder=" …")  # may be texts of a first row
                raise UserError(
                    f"data.{option}_column: data.{key} ({path}) has no column {name}; its columns are {listed}."
                )
            if names.count(name) > 1:
                raise UserError(f"data.{option}_column: data.{key} ({path}) has several columns {name}.")

    def refuse_type(self, path: Path | str, key: str, name: str, kind: object) -> UserError:
        """The error for a column that holds something else than text."""
        option = "document" if name == self.document else "summary"
        return UserError(f"data.{option}_column: column {name} of data.{key} ({path}) holds {kind} values, not text.")


def read_rows(files: DataFiles, columns: Columns) -> Iterator[Row]:
    """Yields the rows of all files. Raises UserError that names the key, the file and, where there is one, the line."""
    if files.kind == TEXT_PAIRS:
        half = len(files.paths) // 2
        for pair in zip(files.paths[:half], files.paths[half:], strict=True):
            document, summary = (_read_text(path, files.key) for path in pair)
            yield document, summary
        return
    reader = {".jsonl": _json, ".json": _json, ".parquet": _parquet}.get(files.kind, _csv)
    for path in files.paths:
        try:
            yield from reader(path, files.key, columns)
        except (ValueError, RecursionError, csv.Error, EOFError, zlib.error, pa.ArrowException, OSError) as error:
            if isinstance(error, UnicodeDecodeError) and files.kind != ".parquet":
                raise UserError(_not_utf8(path, files.key)) from error
            reason = str(error).splitlines()[0].rstrip(".")
            raise UserError(f"data.{files.key}: {path} cannot be read as {files.kind[1:]}: {reason}.") from error


def _read_text(path: Path, key: str) -> str:
    try:
        with _open(path, newline=None) as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise UserError(_not_utf8(path, key)) from error


def _not_utf8(path: Path, key: str) -> str:
    return f"data.{key}: {path} is not UTF-8 text; convert it, for example with iconv -f ISO-8859-1 -t UTF-8."


def _open(path: Path, newline: str | None = "") -> TextIO:
    """The text of a file in UTF-8, or in UTF-16 if it begins with its mark (as Excel's "Unicode text")."""
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rb") as file:
        start = file.read(2)
    encoding = "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    return opened(path, "rt", encoding=encoding, newline=newline)


def _parse(line: str, number: int) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:  # the latter from thousands of nested brackets
        raise ValueError(f"line {number}: {error}") from error


def _json(path: Path, key: str, columns: Columns) -> Iterator[Row]:
    """One object a line, or a list of objects, which is read as a whole."""
    with _open(path) as file:
        is_list = next((line.lstrip()[0] for line in file if not line.isspace()), "") == "["
    with _open(path) as file:
        if is_list:
            rows = ((f"row {number}", row) for number, row in enumerate(json.load(file), 1))
        else:
            lines = ((number, line) for number, line in enumerate(file, 1) if not line.isspace())
            rows = ((f"line {number}", _parse(line, number)) for number, line in lines)
        yield from _json_rows(rows, path, key, columns)


def _json_rows(rows: Iterator[tuple[str, Any]], path: Path, key: str, columns: Columns) -> Iterator[Row]:
    names: dict[str, None] = {}
    for place, row in rows:
        if not isinstance(row, dict):
            raise ValueError(f"{place} is no object")
        names |= dict.fromkeys(row)
        values = row.get(columns.document), row.get(columns.summary)
        for name, value in zip((columns.document, columns.summary), values, strict=True):
            if not isinstance(value, str | None):
                raise columns.refuse_type(path, key, name, f"{type(value).__name__} ({place})")
        yield values
    columns.check(path, key, list(names))


def _csv(path: Path, key: str, columns: Columns) -> Iterator[Row]:
    r"""CSV or TSV with quotes doubled (RFC 4180), or escaped as \" (Spark), or, in TSV, not special at all."""
    csv.field_size_limit(_MAX_FIELD)
    dialects: list[tuple[bool, dict[str, Any]]] = [(False, {"strict": True}), (True, {"strict": True})]
    if ".tsv" in path.name.lower():
        dialects = [(escaped, {**options, "delimiter": "\t"}) for escaped, options in dialects]
        dialects.append((False, {"delimiter": "\t", "quoting": csv.QUOTE_NONE}))
    problems = []
    for escaped, options in dialects:
        problem = _csv_problem(path, escaped, options)
        if not problem:
            break
        problems.append(problem)
    else:
        # Another delimiter shows in the header.
        with _open(path) as file:
            columns.check(path, key, next(csv.reader(file, **dialects[0][1]), []))
        raise ValueError(problems[0])
    with _open(path) as file:
        rows = csv.reader(_unescaped(file) if escaped else file, **options)
        names = next(rows, [])
        columns.check(path, key, names)
        places = [names.index(name) for name in (columns.document, columns.summary)]
        for row in rows:
            if row:
                document, summary = (row[i] if i < len(row) else None for i in places)
                yield (_without_escapes(document), _without_escapes(summary)) if escaped else (document, summary)


def _csv_problem(path: Path, escaped: bool, options: dict[str, Any]) -> str:
    """Why the file cannot be read with these options, or ""; fields beyond the header's would shift the columns."""
    with _open(path) as file:
        rows = csv.reader(_unescaped(file) if escaped else file, **options)
        wide, first = 0, 0
        try:
            header = next(rows, [])
            for row in rows:
                if any(row[len(header) :]):
                    wide, first = wide + 1, first or rows.line_num
        except csv.Error as error:
            return f"line {rows.line_num}: {error}"
    return f"{wide} rows have more fields than the header, the first in line {first}" if wide else ""


def _unescaped(lines: TextIO) -> Iterator[str]:
    r"""The lines with each \" as "", the form that Python reads."""
    return (_ESCAPED_QUOTE.sub(r'\1""', line) for line in lines)


def _without_escapes(value: str | None) -> str | None:
    r"""The value with \\ as \ if it was quoted: Spark quotes only values with special characters."""
    return value.replace("\\\\", "\\") if value and any(mark in value for mark in ',"\r\n') else value


def _parquet(path: Path, key: str, columns: Columns) -> Iterator[Row]:
    # By default the columns of a row group are read at once, and one row group may be the file.
    with pq.ParquetFile(path, buffer_size=PARQUET_BUFFER, pre_buffer=False) as file:
        columns.check(path, key, file.schema_arrow.names)
        names = [columns.document, columns.summary]
        for name in names:
            kind = file.schema_arrow.field(name).type
            value = kind.value_type if pa.types.is_dictionary(kind) else kind
            tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
            if not any(test(value) for test in tests):
                raise columns.refuse_type(path, key, name, kind)
        for batch in file.iter_batches(PARQUET_ROWS, columns=names):
            yield from zip(*(batch[name].to_pylist() for name in names), strict=True)
