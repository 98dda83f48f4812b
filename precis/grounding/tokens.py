"""Tokens: the words and signs of a text, as alignment compares them; of a document only those that matter."""

import re
import unicodedata
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import NamedTuple

from precis.grounding.words import WORD, Spelling, form, spell, words
from precis.text.windows import split

_SIGN = re.compile(r"""[^\w\s.,;:!?'"()]""")
_POSSESSIVE = ("'s", "’s")


class Token(NamedTuple):
    """A word or sign at text[start:end]; those with equal `form` are the same."""

    form: str
    start: int
    end: int


class SourceToken(NamedTuple):
    """A token of a document, in its sentence number `sentence`.

    `follows` says that the token before it was not passed over. A sign has no `spelling`.
    """

    form: str
    start: int
    end: int
    sentence: int
    follows: bool
    spelling: Spelling | None


def text_tokens(text: str, start: int, end: int) -> Iterator[Token]:
    """The words and signs of text[start:end] in order."""
    part, position = text[start:end], 0
    for word in words(part):
        for at in _signs(part, position, word.start):
            yield Token(part[at], start + at, start + at + 1)
        position = _token_end(part, word.end)
        yield Token(form(part[word.start : position]), start + word.start, start + position)
    for at in _signs(part, position, len(part)):
        yield Token(part[at], start + at, start + at + 1)


def source_tokens(
    document: str,
    sentences: list[tuple[int, int]],
    matters: Callable[[Spelling], bool],
    check: Callable[[], None],
) -> Iterator[SourceToken]:
    """The signs of `document` and those words that matter, in order; `sentences` are its sentences' spans.

    Other words take little time. `check` is called now and then.
    """
    sentence = position = 0
    follows = False
    for parts in split(WORD, document):
        check()
        starts = list(accumulate(map(len, parts), initial=position))
        position = starts[-1]
        parts.append("")  # behind the last word; it has no key
        with_signs = {between for between in set(parts[::2]) if _SIGN.search(between)}
        spellings = {match: spell(match) for match in set(parts[1::2])}
        read = {match: spelling for match, spelling in spellings.items() if not spelling.key or matters(spelling)}
        for start, between, match in zip(starts[::2], parts[::2], parts[1::2], strict=True):
            if between in with_signs:
                for at in _signs(document, start, start + len(between)):
                    sentence = _sentence_at(at, sentences, sentence)
                    yield SourceToken(document[at], at, at + 1, sentence, follows, None)
                    follows = True
            spelling = read.get(match)
            if spelling is None:
                follows = False
            elif spelling.key:
                start += len(between)
                sentence = _sentence_at(start, sentences, sentence)
                end = start + len(spelling.text)
                token_end = _token_end(document, end)
                token_form = spelling.form if token_end == end else form(document[start:token_end])
                yield SourceToken(token_form, start, token_end, sentence, follows, spelling)
                follows = True


def _sentence_at(place: int, sentences: list[tuple[int, int]], first: int) -> int:
    """The number of the sentence that holds the `place` in the text, from the `first` one on."""
    while sentences[first][1] <= place:
        first += 1
    return first


def _token_end(text: str, end: int) -> int:
    """Where the token of the word that ends at `end` ends: behind its possessive ending."""
    return end + 2 * (text[end : end + 2].lower() in _POSSESSIVE)


def _signs(text: str, start: int, end: int) -> Iterator[int]:
    """The places of the signs between two words; a dash is one before a digit, if a space stands before it."""
    for match in _SIGN.finditer(text, start, end):
        at, char = match.start(), match.group()
        is_minus = char in "-–" and text[at - 1 : at].isspace() and text[at + 1 : at + 2].isdecimal()
        if is_minus or char in "%‰°&#@" or unicodedata.category(char) in ("Sc", "Sm"):
            yield at
