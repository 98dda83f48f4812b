"""Chooses among several summaries of a text by what is wrong with each that comparing words can tell."""

from collections.abc import Callable

from precis.grounding.evidence import Evidence, find_evidence

COPIED = 0.95  # share of copied words from which on a seam is a splice and no paraphrase


def count_marks(evidence: Evidence) -> int:
    """How many numbers and names of the summary the text lacks, and how often it joins copied pieces."""
    seams = evidence.grounding.seams if evidence.grounding.copied_share >= COPIED else []
    return len(evidence.unsupported) + len(seams)


def best_grounded(document: str, summaries: list[str], check: Callable[[], None] = lambda: None) -> int:
    """The index of the summary with the fewest marks, the first of equal ones.

    `check` is called now and then; what it raises ends the comparison.
    """
    marks: list[int] = []
    for summary in summaries:
        marks.append(count_marks(find_evidence(document, summary, check)))
        if not marks[-1]:
            break
    return marks.index(min(marks))
