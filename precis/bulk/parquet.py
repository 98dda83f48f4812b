"""Parquet rows. Types stay as they are; the unfinished output is Arrow streams, which can be cut at any window."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from precis.bulk.errors import BulkError
from precis.bulk.files import Source
from precis.bulk.rows import BATCH, Columns, Row, with_document

TYPES = (pa.string(), pa.int32(), pa.int32(), pa.int32(), pa.bool_(), pa.int32(), pa.string())
GROUP = 32 << 20  # bytes of rows in a row group


class Parquet:
    """A format as `rows.Format` has it."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.schema: pa.Schema | None = None
        self._rows = 0  # of the file that is read

    def check(self, sources: list[Source]) -> None:
        for source in sources:
            path = source.name
            try:
                with source.open() as raw:
                    schema = pq.read_schema(raw)
            except (OSError, pa.ArrowException) as error:
                raise BulkError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error
            self.columns.check(schema.names, path)
            kind = schema.field(self.columns.document).type
            text = kind.value_type if pa.types.is_dictionary(kind) else kind
            if not (pa.types.is_string(text) or pa.types.is_large_string(text) or pa.types.is_string_view(text)):
                raise BulkError(f"Column {self.columns.document} of {path} holds {kind} values, not text.")
            if self.schema is not None and not schema.equals(self.schema):
                raise BulkError(f"{path} has other columns or types than {sources[0].name}.")
            self.schema = self.schema or schema

    def read(self, stream: IO[bytes], skip: int) -> Iterator[Row]:
        file = pq.ParquetFile(stream)
        self._rows = file.metadata.num_rows
        groups, number = list(range(file.num_row_groups)), 0
        while groups and number + file.metadata.row_group(groups[0]).num_rows <= skip:
            number += file.metadata.row_group(groups.pop(0)).num_rows
        for batch in file.iter_batches(BATCH, row_groups=groups, use_threads=False):
            documents = batch.column(self.columns.document).to_pylist()
            for place, document in enumerate(documents):
                number += 1
                if number > skip:
                    yield with_document(Row(number, (batch, place)), self.columns.document, document)

    def position(self, raw: IO[bytes], source: Source, row: int) -> int:
        return source.size * row // self._rows

    def header(self) -> bytes:
        return b""

    def encode(self, rows: list[Row], added: list[dict[str, Any]]) -> bytes:
        if not rows:
            return b""
        table = pa.Table.from_batches([batch.slice(place, 1) for batch, place in (row.raw for row in rows)])
        for name, kind in zip(self.columns.added, TYPES, strict=True):
            table = table.append_column(name, pa.array([values[name] for values in added], kind))
        buffer = io.BytesIO()
        with pa.ipc.new_stream(buffer, table.schema) as writer:
            writer.write_table(table.combine_chunks())
        return buffer.getvalue()

    def told(self, row: Row) -> Any:
        batch, place = row.raw
        return {name: _plain(value) for name, value in batch.slice(place, 1).to_pylist()[0].items()}

    def finish(self, partial: Path) -> Path:
        made = partial.with_name("made.parquet")
        schema = self.schema
        for name, kind in zip(self.columns.added, TYPES, strict=True):
            schema = schema.append(pa.field(name, kind))
        with pq.ParquetWriter(made, schema) as writer, pa.OSFile(str(partial)) as file:
            tables, size, end = [], 0, file.size()
            while file.tell() < end:
                tables.append(pa.ipc.open_stream(file).read_all().cast(schema))
                size += tables[-1].nbytes
                if size > GROUP or file.tell() == end:
                    writer.write_table(pa.concat_tables(tables).combine_chunks())
                    tables, size = [], 0
        return made


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
