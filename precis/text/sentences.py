"""Splits a text into sentences, by rules for English and its neighbours and by the full stops of other scripts."""

import re
import unicodedata
from collections.abc import Iterator

from precis.text.abbreviations import continues_after_abbreviation
from precis.text.blocks import block_spans

# Marks, with closing quotes and brackets and references, before whitespace; a CJK stop anywhere; before a bullet.
_END = re.compile(
    r"(?<![.!?…])(?<![.!?…] )(?P<marks>[.!?…।॥؟۔።։](?: ?[.!?…](?!\w))*+)(?P<closing>[\"'”“’)\]»›*_]*+)"
    r"(?:\[\d{1,3}\])*+(?=\s)|[。！？｡]++[」』”’）]*+|\s(?=[•⁃‣◦▪] ?\S)"
)
_OPENING = re.compile(r"\s*+[\"'“‘„(\[«‹]*+")
_LIST_NUMBER = re.compile(r"[-*•⁃\s]*+\(?(?:\d{1,3}|[A-Za-z]|[ivx]{1,4})\.\)?$")
_LONGEST_LIST_NUMBER = 10  # characters
_NAMED_WITH_MARK = ("Yahoo!", "Jeopardy!", "Yum!", "Which?")
# "Why not?" Ann Lee asked.
_ATTRIBUTION = re.compile(
    r"(?:[A-ZÀ-ÖØ-Þ][\w.'’-]{0,20} ){1,3}"
    r"(?:said|says|asked|asks|wrote|writes|added|adds|replied|told|cried|shouted|answered)\b"
)


def sentence_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yields (start, end) of each sentence in `text`, without the whitespace around it, in linear time.

    A sentence lies within one block (see `blocks.block_spans`); lines that were wrapped are one block. An abbreviation
    does not end a sentence, nor does a mark after which it continues: a closing quote, a bracket or an ellipsis before
    a small letter.
    """
    for block_start, block_end in block_spans(text):
        start = block_start
        for match in _END.finditer(text, block_start, block_end):
            if _ends_sentence(text, start, match, block_end):
                yield from _stripped(text, start, match.end())
                start = match.end()
        yield from _stripped(text, start, block_end)


def split_sentences(text: str) -> list[str]:
    """The sentences of `text` in Unicode's form NFC, each run of whitespace in them one space."""
    text = unicodedata.normalize("NFC", text)
    return [" ".join(text[start:end].split()) for start, end in sentence_spans(text)]


def _ends_sentence(text: str, start: int, match: re.Match[str], block_end: int) -> bool:
    marks, closing = match["marks"], match["closing"]
    if marks is None:  # a CJK stop or a bullet
        return True
    opening = _OPENING.match(text, match.end(), block_end)
    following = opening.end() if opening is not None else match.end()
    first = text[following : following + 1]
    if marks == "." and not closing.strip("*_"):
        return not (
            _is_list_number(text, start, match.end("closing"))
            or continues_after_abbreviation(text, start, match.end("marks"), following)
        )
    if _is_list_number(text, start, match.end("closing")):
        return False
    is_ellipsis = marks.count(".") > 2 or "…" in marks
    if is_ellipsis and closing[:1] in ("]", ")") and text[match.start() - 1] in "[(":
        return False
    if (closing or is_ellipsis) and (first.islower() or (is_ellipsis and not closing and first.isdigit())):
        return False
    if closing and marks[-1] in "!?" and _ATTRIBUTION.match(text, following):
        return False
    return not (first.islower() and text.endswith(_NAMED_WITH_MARK, max(start, match.start() - 9), match.end("marks")))


def _is_list_number(text: str, start: int, end: int) -> bool:
    """Whether the sentence has only the number of a list item so far."""
    return end - start <= _LONGEST_LIST_NUMBER and _LIST_NUMBER.match(text, start, end) is not None


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
