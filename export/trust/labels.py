"""Summaries that people have judged, which calibrate trust in place of the automatic check."""

import json
from dataclasses import dataclass
from pathlib import Path

from finetune.errors import UserError

CHECK = "wrong: judged so by a person"
TEXTS = ("document", "summary")


@dataclass(frozen=True)
class JudgedSummary:
    """A summary of a document, and whether a person found it right."""

    document: str
    summary: str
    is_right: bool


def read_labels(path: Path) -> list[JudgedSummary]:
    """The rows of a JSONL file with `document`, `summary` and `label`: 1 is right, 0 wrong.

    Rows without a label have not been judged and are left out. Raises UserError that names the line at fault.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--labels: {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    rows = [_row(line, f"--labels: line {number} of {path}") for number, line in enumerate(lines, 1) if line.strip()]
    judged = [row for row in rows if row is not None]
    if not judged:
        raise UserError(f"--labels: {path} has no row with a label.")
    return judged


def _row(line: str, place: str) -> JudgedSummary | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise UserError(f"{place} is not valid JSON.") from None
    if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in TEXTS):
        raise UserError(f"{place} lacks a text in {' or '.join(TEXTS)}.")
    label = row.get("label")
    if label is None or label == "":
        return None
    if label not in (0, 1, "0", "1"):
        raise UserError(f"{place} has the label {label!r}; it should be 1 (right) or 0 (wrong).")
    return JudgedSummary(row["document"], row["summary"], int(label) == 1)
