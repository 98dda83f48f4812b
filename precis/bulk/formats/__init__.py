"""The file formats of bulk runs: JSONL, CSV and Parquet. Columns besides the document are carried over unchanged."""

from precis.bulk.formats.base import Format, Row
from precis.bulk.formats.columns import Answer, Columns
from precis.bulk.formats.csv_format import CsvFormat
from precis.bulk.formats.jsonl import JsonlFormat

__all__ = ["Answer", "Columns", "CsvFormat", "Format", "JsonlFormat", "Row", "make_format"]


def make_format(name: str, columns: Columns) -> Format:
    """The format called `name`: "jsonl", "csv", "tsv" or "parquet"."""
    if name == "parquet":
        from precis.bulk.formats.parquet import ParquetFormat

        return ParquetFormat(columns)
    return JsonlFormat(columns) if name == "jsonl" else CsvFormat(columns, name)
