"""Parquet. Column types stay as they are; the unfinished output is Arrow streams, which can be cut after any window."""

import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from precis.bulk.errors import BulkError, short_reason
from precis.bulk.files import Source
from precis.bulk.formats.arrow_json import is_utf8, json_value
from precis.bulk.formats.base import Format, Row
from precis.bulk.formats.columns import Columns

BATCH_ROWS = 256  # read at once
NOT_UTF8 = "The row is not UTF-8."
ROW_GROUP_BYTES = 32 << 20
PLACE = [("start", pa.int64()), ("end", pa.int64())]
ARROW_TYPES = {str: pa.string(), int: pa.int32(), bool: pa.bool_(), float: pa.float64()}
LIST_TYPES = {  # of the columns that hold lists
    "extracted": pa.list_(pa.struct([*PLACE, ("score", pa.float64())])),
    "seams": pa.list_(pa.struct([("at", pa.int64()), ("sources", pa.list_(pa.list_(pa.int64())))])),
    "novel": pa.list_(pa.struct([*PLACE, ("text", pa.string())])),
    "unsupported": pa.list_(pa.struct([("text", pa.string()), *PLACE, ("kind", pa.string())])),
}


class ParquetFormat(Format):
    """Parquet files with the same columns and types. A row's content is (record batch, index in it)."""

    def __init__(self, columns: Columns) -> None:
        super().__init__(columns)
        self.schema: Any = None  # pyarrow.Schema
        self._file_rows = 0  # of the file that is being read

    def check_files(self, sources: list[Source]) -> None:
        """Reads all schemas, which have to be equal."""
        for source in sources:
            try:
                with source.open() as raw:
                    schema = pq.read_schema(raw)
            except (OSError, pa.ArrowException) as error:
                raise BulkError(f"{source.name} cannot be read as Parquet: {short_reason(error)}.") from error
            self.columns.check(schema.names, source.name)
            column_type = schema.field(self.columns.document).type
            if not _is_text(column_type):
                name = self.columns.document
                raise BulkError(f"Column {name} of {source.name} holds {column_type} values, not text.")
            if self.schema is not None and not schema.equals(self.schema):
                raise BulkError(f"{source.name} has other columns or types than {sources[0].name}.")
            self.schema = self.schema or schema
        self.partitions = {name: kind for name, kind in self.partitions.items() if name not in self.schema.names}

    def read(self, stream: IO[bytes], skip: int) -> Iterator[Row]:
        """Whole row groups within `skip` are not read at all."""
        file = pq.ParquetFile(stream)
        self._file_rows = file.metadata.num_rows
        groups, number = list(range(file.num_row_groups)), 0
        while groups and number + file.metadata.row_group(groups[0]).num_rows <= skip:
            number += file.metadata.row_group(groups.pop(0)).num_rows
        for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, use_threads=False):
            for row in self._rows(batch, number):
                if row.number > skip:
                    yield row
            number += batch.num_rows
        if number != self._file_rows:
            raise ValueError(f"it says that it has {self._file_rows} rows, and {number} could be read")

    def _rows(self, batch: Any, before: int) -> Iterator[Row]:
        """The rows of a batch; one with text that is not UTF-8 in any column is rejected, as in other formats."""
        name = self.columns.document
        suspects = [column for column in batch.columns if not _is_valid(column)]
        documents = _dense(batch.column(name)).cast(pa.large_binary()).to_pylist()
        for index, document in enumerate(documents):
            row = Row(before + index + 1, (batch, index))
            try:
                if not all(is_utf8(column[index]) for column in suspects):
                    row.error = NOT_UTF8
                else:
                    row.set_document(None if document is None else document.decode(), name)
            except UnicodeDecodeError:  # a surrogate, which Arrow's check may let pass
                row.error = NOT_UTF8
            yield row

    def position(self, raw: IO[bytes], source: Source, row: int) -> int:
        """In proportion to the rows: a Parquet file is not read from its beginning to its end."""
        return source.size * row // self._file_rows

    def encode(self, rows: list[Row], added: list[dict[str, Any]]) -> bytes:
        """An Arrow stream with one table."""
        if not rows:
            return b""
        table = pa.Table.from_batches(list(_slices(rows)))
        for name, kind in self.added_types.items():
            table = table.append_column(name, pa.array([values[name] for values in added], _arrow_type(name, kind)))
        buffer = io.BytesIO()
        with pa.ipc.new_stream(buffer, table.schema) as writer:
            writer.write_table(table)
        return buffer.getvalue()

    def rejected(self, row: Row) -> Any:
        """The row as an object; of columns with the same name the last."""
        batch, index = row.content
        return {name: json_value(column[index]) for name, column in zip(batch.schema.names, batch.columns, strict=True)}

    def finish(self, partial: Path) -> Path:
        """Writes the Arrow streams of `partial` as one Parquet file beside it."""
        final = partial.with_name("final.parquet")
        schema = self.schema
        for name, kind in self.added_types.items():
            schema = schema.append(pa.field(name, _arrow_type(name, kind)))
        with pq.ParquetWriter(final, schema) as writer, pa.OSFile(str(partial)) as file:
            tables, size, end = [], 0, file.size()
            while file.tell() < end:
                tables.append(pa.ipc.open_stream(file).read_all().cast(schema))
                size += tables[-1].nbytes
                if size > ROW_GROUP_BYTES or file.tell() == end:
                    writer.write_table(pa.concat_tables(tables))
                    tables, size = [], 0
        return final


def _arrow_type(name: str, kind: type) -> Any:
    """The type of an added column."""
    return LIST_TYPES[name] if kind is list else ARROW_TYPES[kind]


def _is_text(kind: Any) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _dense(column: Any) -> Any:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _is_valid(column: Any) -> bool:
    """Whether all text in a column, nested too, is UTF-8: Arrow carries other bytes as well, which Python cannot read.

    This is fast, but a part of a nested column cannot be asked for alone.
    """
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _slices(rows: list[Row]) -> Iterator[Any]:
    """The record batches of rows, those that follow one another in one batch as one slice."""
    for _, group in itertools.groupby(
        enumerate(rows), lambda item: (id(item[1].content[0]), item[1].content[1] - item[0])
    ):
        run = [row.content for _, row in group]
        batch, first = run[0]
        yield batch.slice(first, len(run))
