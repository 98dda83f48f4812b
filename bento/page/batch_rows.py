"""The rows of a batch, as an HTML table and as CSV and JSONL downloads."""

import csv
import dataclasses
import io
import json
from dataclasses import dataclass
from typing import Any

from bento.page.grounding_view import summary_html
from bento.page.html import plural, render
from bento.page.summarizing import Done
from precis.grounding.evidence import Evidence, Span

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet runs a cell that starts with one of these


@dataclass
class BatchRow:
    """One document of a batch. The fields up to `note` are the columns of the downloads."""

    document: str
    summary: str = ""
    words: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    chunks: int = 0
    truncated_tokens: int = 0
    seconds: float = 0.0
    not_in_text: str = ""
    error: str = ""
    note: str = ""
    unsupported: list[Span] = dataclasses.field(default_factory=list)

    def fill(self, done: Done, evidence: Evidence) -> None:
        """Sets the fields from the finished summary and its evidence."""
        summary = done.summary
        self.summary, self.seconds = summary.text, round(done.seconds, 2)
        self.input_tokens, self.output_tokens = summary.input_tokens, summary.output_tokens
        self.chunks, self.truncated_tokens = summary.chunks, summary.truncated_tokens
        if summary.already_short:
            self.note = f"{self.note} Already short.".strip()
        if summary.unsupported_language:
            self.note = f"{self.note} Language not learned: its beginning.".strip()
        self.unsupported = evidence.unsupported
        self.not_in_text = ", ".join(dict.fromkeys(span.text for span in evidence.unsupported))

    def as_record(self) -> dict[str, Any]:
        """The row by column, as it is downloaded."""
        return {name: getattr(self, name) for name in COLUMNS}

    def remarks(self) -> list[str]:
        """What the table says about the row besides its summary."""
        remarks = [f"{self.seconds:.1f} s" if self.summary else "", self.note]
        if self.chunks > 1:
            remarks.append(f"{self.chunks} chunks")
        if self.truncated_tokens:
            remarks.append(f"{plural(self.truncated_tokens, 'token')} not read")
        return list(filter(None, remarks))


COLUMNS = [field.name for field in dataclasses.fields(BatchRow) if field.name != "unsupported"]


def to_csv(records: list[dict[str, Any]] | None) -> str:
    """CSV (RFC 4180) with a byte order mark for Excel. An apostrophe keeps a cell from being run as a formula.

    None stands for no records: the page has no batch yet.
    """
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    for record in records or []:
        writer.writerow(
            {name: f"'{value}" if str(value).startswith(FORMULA_STARTS) else value for name, value in record.items()}
        )
    return "\ufeff" + file.getvalue()


def to_jsonl(records: list[dict[str, Any]] | None) -> str:
    """One JSON object a line. None is as for `to_csv`."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records or [])


def table_html(rows: list[BatchRow]) -> str:
    """The table on the page."""
    return render("batch_table.html", rows=rows, summary_html=summary_html)


def progress(rows: list[BatchRow]) -> str:
    """How many documents are done, in a sentence."""
    done, failed = sum(bool(row.summary) for row in rows), sum(bool(row.error) for row in rows)
    message = f"{done} of {plural(len(rows), 'document')} summarized"
    return f"{message}; {failed} could not be." if failed else f"{message}."
