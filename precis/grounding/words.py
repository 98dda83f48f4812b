"""The words of a text, and the form in which two of them are compared."""

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

_UNSPACED = "\u3040-\u30ff\u3400-\u9fff"  # scripts without spaces between words: each character is a word
_LETTER = rf"(?:(?![{_UNSPACED}])[\w\u0300-\u036f])"
_WORD = re.compile(
    rf"(?:[^\W\d_]\.){{2,}}|[{_UNSPACED}]|{_LETTER}+(?:['’\-\u2010\u2011]{_LETTER}+)*['’]?"  # first: U.S.
)
_POSSESSIVE = re.compile(r"(?:['’]s|(?<=s)['’]|['’])$", re.IGNORECASE)
HYPHEN = re.compile("[-\u2010\u2011]")


class Word(NamedTuple):
    """A word at text[start:end], without a possessive ending; equal `key`s are the same word."""

    text: str
    start: int
    end: int
    key: str

    @property
    def capitalized(self) -> bool:
        """Whether it begins with a capital."""
        return self.text[0].isupper() or self.text[0].istitle()


def words(text: str) -> Iterator[Word]:
    """The words of `text` in order, in linear time."""
    for match in _WORD.finditer(text):
        if word := _POSSESSIVE.sub("", match.group()):
            yield Word(word, match.start(), match.start() + len(word), key(word))


def key(word: str) -> str:
    """`word` without case, accents, full stops and the s of a plural."""
    if not word.isascii():
        word = "".join(char for char in unicodedata.normalize("NFKD", word) if not unicodedata.combining(char))
        word = HYPHEN.sub("-", word)
    if word[-1] == "s" and len(word) > 2 and word[:-1].isupper():  # MPs
        word = word[:-1]
    word = word.casefold().replace(".", "")
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def hyphenated_keys(word: Word) -> list[str]:
    """The keys of a hyphenated word's parts, without numbers, which are compared as numbers; [] for any other word."""
    if not HYPHEN.search(word.text):
        return []
    return [key(part) for part in HYPHEN.split(word.text) if part and not part.isdecimal()]
