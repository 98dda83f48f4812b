"""Parquet. Column types stay as they are; the unfinished output is Arrow streams, which can be cut after any window."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from precis.bulk.errors import BulkError
from precis.bulk.files import Source
from precis.bulk.formats.base import Columns, Format, Row

BATCH_ROWS = 256  # read at once
ROW_GROUP_BYTES = 32 << 20
ADDED_TYPES = (
    pa.string(),
    pa.int32(),
    pa.int32(),
    pa.int32(),
    pa.bool_(),
    pa.int32(),
    pa.string(),
    pa.bool_(),
    pa.bool_(),
)


class ParquetFormat(Format):
    """Parquet files with the same columns and types. A row's content is (record batch, index in it)."""

    def __init__(self, columns: Columns) -> None:
        super().__init__(columns)
        self.schema: Any = None  # pyarrow.Schema
        self._file_rows = 0  # of the file that is being read

    def check(self, sources: list[Source]) -> None:
        """Reads all schemas, which have to be equal."""
        for source in sources:
            try:
                with source.open() as raw:
                    schema = pq.read_schema(raw)
            except (OSError, pa.ArrowException) as error:
                raise BulkError(f"{source.name} cannot be read as Parquet: {str(error).splitlines()[0]}") from error
            self.columns.check(schema.names, source.name)
            column_type = schema.field(self.columns.document).type
            text = column_type.value_type if pa.types.is_dictionary(column_type) else column_type
            if not (pa.types.is_string(text) or pa.types.is_large_string(text) or pa.types.is_string_view(text)):
                name = self.columns.document
                raise BulkError(f"Column {name} of {source.name} holds {column_type} values, not text.")
            if self.schema is not None and not schema.equals(self.schema):
                raise BulkError(f"{source.name} has other columns or types than {sources[0].name}.")
            self.schema = self.schema or schema

    def read(self, stream: IO[bytes], skip: int) -> Iterator[Row]:
        """Whole row groups within `skip` are not read at all."""
        file = pq.ParquetFile(stream)
        self._file_rows = file.metadata.num_rows
        groups, number = list(range(file.num_row_groups)), 0
        while groups and number + file.metadata.row_group(groups[0]).num_rows <= skip:
            number += file.metadata.row_group(groups.pop(0)).num_rows
        for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, use_threads=False):
            for index, document in enumerate(batch.column(self.columns.document).to_pylist()):
                number += 1
                if number > skip:
                    yield Row(number, (batch, index)).set_document(document, self.columns.document)

    def position(self, raw: IO[bytes], source: Source, row: int) -> int:
        """In proportion to the rows: a Parquet file is not read from its beginning to its end."""
        return source.size * row // self._file_rows

    def encode(self, rows: list[Row], added: list[dict[str, Any]]) -> bytes:
        """An Arrow stream with one table."""
        if not rows:
            return b""
        table = pa.Table.from_batches([batch.slice(index, 1) for batch, index in (row.content for row in rows)])
        for name, kind in zip(self.columns.added, ADDED_TYPES, strict=True):
            table = table.append_column(name, pa.array([values[name] for values in added], kind))
        buffer = io.BytesIO()
        with pa.ipc.new_stream(buffer, table.schema) as writer:
            writer.write_table(table.combine_chunks())
        return buffer.getvalue()

    def rejected(self, row: Row) -> Any:
        """The row as an object; what JSON has no type for becomes text."""
        batch, index = row.content
        values = batch.slice(index, 1).to_pylist()[0]
        return {
            name: value if isinstance(value, str | int | float | bool | None) else str(value)
            for name, value in values.items()
        }

    def finish(self, partial: Path) -> Path:
        """Writes the Arrow streams of `partial` as one Parquet file beside it."""
        final = partial.with_name("final.parquet")
        schema = self.schema
        for name, kind in zip(self.columns.added, ADDED_TYPES, strict=True):
            schema = schema.append(pa.field(name, kind))
        with pq.ParquetWriter(final, schema) as writer, pa.OSFile(str(partial)) as file:
            tables, size, end = [], 0, file.size()
            while file.tell() < end:
                tables.append(pa.ipc.open_stream(file).read_all().cast(schema))
                size += tables[-1].nbytes
                if size > ROW_GROUP_BYTES or file.tell() == end:
                    writer.write_table(pa.concat_tables(tables).combine_chunks())
                    tables, size = [], 0
        return final
