"""Splits a text into sentences, by rules for English and its neighbours and for Chinese and Japanese."""

import re
import unicodedata
from collections.abc import Iterator

# A full stop, with closing quotes and brackets, before whitespace; a CJK stop anywhere; or line breaks.
_END = re.compile(
    r"[.!?…](?P<closing>[\"'”’)\]»]*+)(?=\s)|[。！？]++[」』”’）]*+|[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]++"
)
_OPENING = re.compile(r"\s*+[\"'“‘(\[«]*+")
_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|Sen|Sens|Rep|Reps|Gov|Gen|Col|Lt|Sgt|Capt|Rev|Hon|St|Jr|Sr|Inc|Co|Corp|Ltd|No|Nos|Vol|vs"
    r"|etc|e\.g|i\.e|cf|al|approx|Fig|Figs|Eq|Eqs|Sec|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec|a\.m|p\.m)"
    r"|\b[A-ZÀ-ÖØ-Þ])\.$"  # a single capital: "J. Smith", and the last letter of "U.S."
)
_LONGEST_ABBREVIATION = 8  # characters, with its full stop


def sentence_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yields (start, end) of each sentence in `text`, without the whitespace around it, in linear time.

    A line break ends a sentence. An abbreviation does not, nor does a mark that a sentence goes on after: a closing
    quote, a bracket or an ellipsis before a small letter.
    """
    start = 0
    for match in _END.finditer(text):
        if _ends_sentence(text, match):
            yield from _stripped(text, start, match.end())
            start = match.end()
    yield from _stripped(text, start, len(text))


def split_sentences(text: str) -> list[str]:
    """The sentences of `text` in Unicode's form NFC, each run of whitespace in them one space."""
    text = unicodedata.normalize("NFC", text)
    return [" ".join(text[start:end].split()) for start, end in sentence_spans(text)]


def _ends_sentence(text: str, match: re.Match[str]) -> bool:
    mark = text[match.start()]
    if mark not in ".!?…":
        return True
    following = _OPENING.match(text, match.end())
    goes_on = following is not None and text[following.end() : following.end() + 1].islower()
    if goes_on and (mark == "…" or match["closing"] or text[match.start() - 1 : match.start()] == "."):
        return False
    stop = match.start() + 1
    return mark != "." or not _ABBREVIATION.search(text, max(0, stop - _LONGEST_ABBREVIATION), stop)


def stripped_span(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without surrounding whitespace; empty if nothing remains."""
    part = text[start:end]
    first = start + len(part) - len(part.lstrip())
    return first, first + len(part.strip())


def _stripped(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The span without surrounding whitespace, if anything remains."""
    first, last = stripped_span(text, start, end)
    if first < last:
        yield first, last
