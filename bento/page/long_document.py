"""Long documents: their parts, which are summarized one after the other, and the excerpts that are shown of them."""

import dataclasses
import re
from collections.abc import Iterator

from precis.grounding.evidence import Evidence

# The first of these that is found in the second half of a part ends it: a paragraph, a line, a sentence, a word.
BREAKS = [
    re.compile(pattern) for pattern in (r"\n\s*\n", r"\n", r"[.!?…。！？][\"'”’)\]»」』]*(?:\s|(?<=[。！？]))", r"\s")
]
CONTEXT_CHARACTERS = 1_000  # shown on both sides of a supporting sentence
ELLIPSIS = "\n\n[…]\n\n"


def split_parts(text: str, max_characters: int) -> list[str]:
    """`text` in parts of at most `max_characters`, cut between paragraphs if possible, else at the next best place."""
    parts, start = [], 0
    while len(text) - start > max_characters:
        end = _break_before(text, start + max_characters // 2, start + max_characters)
        parts.append(text[start:end])
        start = end
    return [part for part in [*parts, text[start:]] if part.strip()]


def _break_before(text: str, earliest: int, latest: int) -> int:
    """The end of the last paragraph (or line, sentence, word) between these positions; else the latest position."""
    for pattern in BREAKS:
        ends = [match.end() for match in pattern.finditer(text, earliest, latest)]
        if ends:
            return ends[-1]
    return latest


def excerpts(text: str, evidence: Evidence) -> tuple[str, Evidence]:
    """The surroundings of each supporting sentence, and the evidence with its places in them."""
    shown: list[str] = []
    length = 0
    moved = {}
    for start, end in _ranges(text, evidence):
        shown.append(text[start:end])
        for sentence in evidence.sentences:
            if start <= sentence.start < end:
                shift = length - start
                moved[id(sentence)] = dataclasses.replace(
                    sentence, start=sentence.start + shift, end=sentence.end + shift
                )
        length += end - start + len(ELLIPSIS)
    sentences = [moved[id(sentence)] for sentence in evidence.sentences]
    return ELLIPSIS.join(shown), dataclasses.replace(evidence, sentences=sentences)


def _ranges(text: str, evidence: Evidence) -> Iterator[tuple[int, int]]:
    """What is shown of `text`: its beginning if nothing supports the summary; ranges that meet are one."""
    start, end = 0, 0 if evidence.sentences else 2 * CONTEXT_CHARACTERS
    for sentence in sorted(evidence.sentences, key=lambda sentence: sentence.start):
        first, last = max(0, sentence.start - CONTEXT_CHARACTERS), min(len(text), sentence.end + CONTEXT_CHARACTERS)
        if first > end:
            if end:
                yield start, end
            start = first
        end = max(end, last)
    yield start, end
