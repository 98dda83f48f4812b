"""Texts that are answered without the model: those that are short already, and those in an unknown language."""

import re
from collections.abc import Iterator
from itertools import islice

from precis.text.body import body_sentences
from precis.text.sentences import sentence_spans

FEWEST_WORDS = 25  # a text of fewer words is short already
LONGEST_SENTENCE = 60  # words of a single sentence that is short already
LONGEST_SHORT_TEXT = 1000  # characters, whatever the words are
FEWEST_SENTENCE_WORDS = 5  # of a sentence that can stand for the text
LONGEST_BEGINNING = 400  # characters of a sentence that stands for the text
READ_CHARACTERS = 20_000  # in which these sentences are sought

_WORD = re.compile(r"\w+")
# Thai, Lao, Burmese, Khmer, kana and Chinese characters: a run of letters holds several words, of about two each.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]{1,2}"
)


def is_short(text: str) -> bool:
    """Whether `text` is its own summary: fewer than 25 words, or one sentence of at most 60."""
    if len(text) > LONGEST_SHORT_TEXT:
        return False
    words = sum(1 for _ in _words(text))
    return words < FEWEST_WORDS or (words <= LONGEST_SENTENCE and len(list(islice(sentence_spans(text), 2))) < 2)


def beginning(text: str, sentences: int) -> list[tuple[int, int]]:
    """(start, end) of the first `sentences` of the body of `text`; a very long one is cut between words."""
    spans = body_sentences(text[:READ_CHARACTERS])
    long_enough = [span for span in spans if len(list(islice(_words(text[slice(*span)]), FEWEST_SENTENCE_WORDS))) > 4]
    return [_cut(text, *span) for span in (long_enough or spans)[:sentences]]


def _cut(text: str, start: int, end: int) -> tuple[int, int]:
    if end - start <= LONGEST_BEGINNING:
        return start, end
    space = text.rfind(" ", start, start + LONGEST_BEGINNING)
    return start, space if space > start else start + LONGEST_BEGINNING


def _words(text: str) -> Iterator[None]:
    """One item for each word."""
    for match in _WORD.finditer(text):
        parts = len(_UNSPACED.findall(match[0]))
        yield from (None for _ in range(max(1, parts)))
