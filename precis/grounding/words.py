"""The words of a text, and the form in which two of them are compared."""

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from precis.text.windows import split

_UNSPACED = "\u3040-\u30ff\u3400-\u9fff"  # scripts without spaces between words: each character is a word
_LETTER = rf"(?:(?![{_UNSPACED}])[\w\u0300-\u036f])"
# Repetitions are bounded: what is longer is no word, and normalizing combining marks takes the square of their number.
WORD = re.compile(
    rf"((?:[^\W\d_]\.){{2,32}}|[{_UNSPACED}]"  # first: U.S.
    rf"|{_LETTER}{{1,64}}(?:['’\-\u2010\u2011]{_LETTER}{{1,64}}){{0,4}}['’]?)"
)
_POSSESSIVE = re.compile(r"(?:['’]s|(?<=s)['’]|['’])$", re.IGNORECASE)
HYPHEN = re.compile("[-\u2010\u2011]")
# English words that a summary may add without a change of what is stated; negations and pronouns are none of them.
_SMALL = """
a an the and or but of to in on at by for from with as into over after before during since until about is are was were
be been being has have had having do does did will would can could may might should that which while when where also
"""
_NEGATIONS = frozenset(("not", "no", "never", "nor", "neither", "none", "nobody", "nothing", "nowhere", "cannot"))
_INFLECTION = re.compile(r"(?<=..)(?:ing|ed|er|est|ly|'s)$")
_VOWEL = re.compile("[aeiouy]")
_MARKS = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "\u2010": "-", "\u2011": "-"})


class Spelling(NamedTuple):
    """What a word is by its characters alone: its `text` without a possessive ending, and forms to compare it by.

    `key` is "" if it is no word. `parts` are the keys of a hyphenated word's parts, without numbers, which are compared
    as numbers; () for any other word.
    """

    text: str
    key: str
    form: str
    parts: tuple[str, ...]
    negates: bool


class Word(NamedTuple):
    """A word at text[start:end], without a possessive ending; equal `key`s are the same word.

    `parts` are those of its spelling.
    """

    text: str
    start: int
    end: int
    key: str
    parts: tuple[str, ...]

    @property
    def capitalized(self) -> bool:
        """Whether it begins with a capital."""
        return is_capitalized(self.text)


def is_capitalized(text: str) -> bool:
    """Whether a word begins with a capital."""
    return text[0].isupper() or text[0].istitle()


def words(text: str, matters: Callable[[Spelling], bool] = lambda spelling: True) -> Iterator[Word]:
    """The words of `text` that matter in order, in linear time; one of more than some hundred characters is several."""
    end = 0
    for parts in split(WORD, text):
        for between, match in zip(parts[::2], parts[1::2], strict=False):
            start, end = end + len(between), end + len(between) + len(match)
            spelling = spell(match)
            if spelling.key and matters(spelling):
                yield Word(spelling.text, start, start + len(spelling.text), spelling.key, spelling.parts)
        end += len(parts[-1])


@lru_cache(maxsize=4096)
def spell(match: str) -> Spelling:
    """The spelling of a match of WORD."""
    text = match if match.isalnum() else _POSSESSIVE.sub("", match)
    is_hyphenated = not text.isalnum() and HYPHEN.search(text) is not None
    parts = [key(part) for part in HYPHEN.split(text) if part and not part.isdecimal()] if is_hyphenated else ()
    text_form = form(text)
    return Spelling(text, key(text), text_form, tuple(parts), is_negation(text_form))


def is_negation(text_form: str) -> bool:
    """Whether a word with this form negates, in English."""
    return text_form in _NEGATIONS or text_form.endswith("n't")


def form(text: str) -> str:
    """`text` without differences of case, of quotes and dashes, and of Unicode form."""
    if text.isascii():
        return text.lower().rstrip("'")
    return unicodedata.normalize("NFKC", text).casefold().translate(_MARKS).rstrip("'")


@lru_cache(maxsize=4096)
def key(word: str) -> str:
    """`word` without case, accents, full stops and the s of a plural; "" if nothing else is in it."""
    if not word.isascii():
        word = "".join(char for char in unicodedata.normalize("NFKD", word) if not unicodedata.combining(char))
        word = HYPHEN.sub("-", word)
    if word.endswith("s") and len(word) > 2 and word[:-1].isupper():  # MPs
        word = word[:-1]
    word = word.casefold().replace(".", "")
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


SMALL_WORDS = frozenset(map(key, _SMALL.split()))  # their keys


@lru_cache(maxsize=4096)
def stem(word_key: str) -> str:
    """What the forms of a regular English word have in common: "approv" of approve, approves, approved, approving.

    It joins some words that are no forms of each other, as stemmers do; irregular forms (went, go) stay apart.
    """
    ending = _INFLECTION.search(word_key)
    base = word_key[: ending.start()] if ending and _VOWEL.search(word_key[: ending.start()]) else word_key
    if base is not word_key and len(base) > 3 and base[-1] == base[-2] and base[-1] not in "aeiouls":  # running
        base = base[:-1]
    if len(base) > 3:
        base = base.removesuffix("e")
    return base[:-1] + "i" if base.endswith("y") else base
