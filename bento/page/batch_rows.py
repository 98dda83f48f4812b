"""The rows of a batch, as an HTML table and as CSV and JSONL downloads."""

import csv
import dataclasses
import io
import json
import secrets
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from pydantic_core import from_json

from bento.page.grounding_view import source_html, summary_html
from bento.page.html import duration, plural, render
from bento.page.long_document import excerpts
from bento.page.messages import grounding_report
from bento.page.summarizing import Done
from precis.grounding.evidence import find_evidence

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet runs a cell that starts with one of these
MAX_REFUSED, MAX_NAME = 200, 300  # rows of files that were not sent; characters of their names and reasons


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
    grounding: str = ""
    key: str = dataclasses.field(default_factory=lambda: secrets.token_hex(4))  # unique on the page
    summary_html: Markup = dataclasses.field(default_factory=Markup)
    source_html: Markup = dataclasses.field(default_factory=Markup)

    def fill(self, text: str, done: Done) -> None:
        """Sets the fields from the finished summary of `text`, and finds its evidence, which takes a while."""
        summary = done.summary
        evidence = find_evidence(text, summary.text)
        self.words = len(text.split())
        self.summary, self.seconds = summary.text, round(done.seconds, 2)
        self.input_tokens, self.output_tokens = summary.input_tokens, summary.output_tokens
        self.chunks, self.truncated_tokens = summary.chunks, summary.truncated_tokens
        if summary.already_short:
            self.note = f"{self.note} Already short.".strip()
        if summary.unsupported_language:
            self.note = f"{self.note} Language not learned: its beginning.".strip()
        self.summary_html = summary_html(summary.text, evidence.unsupported, done.sentences)
        # Excerpts, since all of fifty documents would be too much for one table.
        self.source_html = source_html(*excerpts(text, evidence), f"evidence-{self.key}")
        if not (summary.already_short or summary.unsupported_language):
            self.grounding = grounding_report(evidence)
        self.not_in_text = ", ".join(dict.fromkeys(span.text for span in evidence.unsupported))

    def as_record(self) -> dict[str, Any]:
        """The row by column, as it is downloaded."""
        return {name: getattr(self, name) for name in COLUMNS}

    def remarks(self) -> list[str]:
        """What the table says about the row besides its summary."""
        remarks = [duration(self.seconds) if self.summary else "", self.note, self.grounding]
        remarks = [remark.removesuffix(".") for remark in remarks]
        if self.chunks > 1:
            remarks.append(f"{self.chunks} chunks")
        if self.truncated_tokens:
            remarks.append(f"{plural(self.truncated_tokens, 'token')} not read")
        return list(filter(None, remarks))


_FIELDS = [field.name for field in dataclasses.fields(BatchRow)]
COLUMNS = _FIELDS[: _FIELDS.index("note") + 1]


def refused_rows(refused: Any) -> list[BatchRow]:
    """The rows of the files that the browser has not sent: a JSON list of objects with `name` and `reason`.

    It comes from the visitor and goes back to nobody else; what has another form makes no row.
    """
    try:
        files = from_json(refused)  # json.loads would take half a surrogate pair, which no answer can hold
        rows = [BatchRow(str(file["name"])[:MAX_NAME], error=str(file["reason"])[:MAX_NAME]) for file in files]
    except (TypeError, ValueError, KeyError):
        return []
    return rows[:MAX_REFUSED]


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
    return render("batch_table.html", rows=rows)


def progress(rows: list[BatchRow]) -> str:
    """How many documents are done, in a sentence."""
    done, failed = sum(bool(row.summary) for row in rows), sum(bool(row.error) for row in rows)
    message = f"{done} of {plural(len(rows), 'document')} summarized"
    return f"{message}; {failed} could not be." if failed else f"{message}."
