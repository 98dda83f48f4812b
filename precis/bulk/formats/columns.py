"""The columns of a bulk run: the one that is read, and those that are added with the summary."""

from dataclasses import asdict, dataclass
from typing import Any

from precis.bulk.errors import BulkError
from precis.grounding.assessment import Assessment
from precis.request import Summary

SCORE_DIGITS = 4  # after the decimal point of a log-probability; further ones depend on what else is in the batch
# The columns beside the summary, each a value of `Summary` or made of one, and their types.
COUNTS: dict[str, type] = {
    "input_tokens": int,
    "output_tokens": int,
    "chunks": int,
    "truncated": bool,
    "truncated_tokens": int,
    "finish_reason": str,
    "already_short": bool,
    "unsupported_language": bool,
    "score": float,
    "min_token_score": float,
}
EXTRACTED = "extracted"  # the places of extracted sentences
BELOW_TRUST = "below_trust"
# What is known of a summary's words; `unsupported` is the evidence's, the others are its grounding's.
GROUNDING: dict[str, type] = {"verbatim": bool, "copied_share": float, "seams": list, "novel": list}
UNSUPPORTED = "unsupported"


@dataclass(frozen=True)
class Answer:
    """The summary of a row and its assessment; `below_trust` says that it, or the one that it replaces, has less than
    the least trust."""

    summary: Summary
    assessment: Assessment
    below_trust: bool = False


@dataclass(frozen=True)
class Columns:
    """The names of the column that is read and of the one that the summaries are written to.

    Added as well are the places of the sentences if some summaries are extracted (`extracts`), their `grounding`, and
    whether they have the least trust that was asked for (`min_trust`).
    """

    document: str
    summary: str
    extracts: bool = False
    grounding: bool = False
    min_trust: bool = False

    def __post_init__(self) -> None:
        """Raises BulkError if a column that is added beside the summary has the summary's name."""
        if self.summary in self._beside_summary:
            raise BulkError(f"The run adds a column {self.summary} of its own; choose another --summary-column.")

    @property
    def types(self) -> dict[str, type]:
        """The columns that a run adds, with the types of their values: str, int, bool, float or list."""
        return {self.summary: str, **self._beside_summary}

    @property
    def _beside_summary(self) -> dict[str, type]:
        types: dict[str, type] = {**COUNTS, "trust": float}
        if self.min_trust:
            types[BELOW_TRUST] = bool
        if self.extracts:
            types[EXTRACTED] = list
        return types | GROUNDING | {UNSUPPORTED: list} if self.grounding else types

    @property
    def added(self) -> list[str]:
        """The names of the columns that a run adds."""
        return list(self.types)

    def values(self, answer: Answer) -> dict[str, Any]:
        """The added columns of one row, and maybe more."""
        summary, evidence = answer.summary, answer.assessment.evidence
        values = {name: getattr(summary, name) for name in COUNTS if name != "truncated"}
        for name in ("score", "min_token_score"):
            values[name] = None if values[name] is None else round(values[name], SCORE_DIGITS)
        values |= {self.summary: summary.text, "truncated": summary.truncated_tokens > 0}
        values |= {"trust": answer.assessment.trust, BELOW_TRUST: answer.below_trust}
        values[EXTRACTED] = list(map(asdict, summary.extracted or []))
        if evidence:
            values |= {**asdict(evidence.grounding), UNSUPPORTED: list(map(asdict, evidence.unsupported))}
        return values

    def check(self, names: list[str], where: str) -> None:
        """Raises BulkError if the document's column is missing or there twice, or an added one exists already."""
        if self.document not in names:
            raise BulkError(
                f"{where} has no column {self.document}; name one of {', '.join(map(str, names))} with --column."
            )
        if names.count(self.document) > 1:
            raise BulkError(f"{where} has two columns {self.document}.")
        self.check_free(names, where)

    def check_free(self, names: list[str], where: str) -> None:
        """Raises BulkError if an added column exists already."""
        for name in self.added:
            if name in names:
                hint = "choose another name with --summary-column" if name == self.summary else "rename it"
                raise BulkError(f"{where} has a column {name} already, which the summaries would take; {hint}.")
