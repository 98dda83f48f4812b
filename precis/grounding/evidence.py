"""What a summary rests on: the sentences of the source that say the same, and numbers and names the source lacks.

It compares words, cheaply and always alike; it does not understand. A sentence supports a summary as far as it shares
its words, the rarer in the document the more. A number is unsupported when the document has it in no spelling known
here (1,000, 1000, "a thousand"), a name when the document has none of its spellings (case, accents, possessive, plural,
the acronym of a written-out name or the reverse). So a true figure that the document only implies is listed, and a real
name put to the wrong deed is not. Names are found by their capitals: none in scripts without case, and every noun in
German. Number words are read in English only.
"""

import math
import re
import unicodedata
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from precis.grounding.numerals import numbers

MOST = 3  # sentences of the source for one of the summary
LEAST_GAIN = 0.15  # of a summary sentence's weight that a further sentence has to add
SHORT = 0.1  # weight of words of up to three small letters: most of them say nothing

END = re.compile(r"[.!?…][\"'”’)\]]*(?=\s)|[。！？]+[」』”]*|\n+")
# "Mr. Smith", "J. Smith", "the U.S. Senate": no end of a sentence
ABBREVIATED = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|Sen|Rep|Gov|Gen|Col|Lt|Sgt|St|No|vs|Jr|Sr)|\b[A-Z]|\.[A-Z])\.$")
WORD = re.compile(
    r"(?:[^\W\d_]\.){2,}"  # U.S.
    r"|[\u3040-\u30ff\u3400-\u9fff]"  # scripts that write no spaces: each sign is a word
    r"|(?:(?![\u3040-\u30ff\u3400-\u9fff])[\w\u0300-\u036f])+"
    r"(?:['’\-\u2010\u2011](?:(?![\u3040-\u30ff\u3400-\u9fff])[\w\u0300-\u036f])+)*['’]?"
)
POSSESSIVE = re.compile(r"(?:['’]s|(?<=s)['’]|['’])$", re.IGNORECASE)
HYPHEN = re.compile("[-\u2010\u2011]")
# English words that begin a sentence with a capital and are no names.
_OPENERS = """
a about after all also although among an and another any as at because before both but by despite during each even every
few for former four from he her here his how however i if in instead into is it its just last many more most much my new
no nor not now of on once one only or other our out over she since so some such than that the their then there these
they this those three through to two under until up we what when where which while who why with within without yet you
your
"""
OPENERS = frozenset(_OPENERS.split())
JOINING = frozenset(("of", "the", "and", "for", "in", "de", "la", "du"))  # small words inside a name


@dataclass(frozen=True)
class Sentence:
    """A sentence of the document, at document[start:end]; `score` is the weighted share (0 to 1) of a sentence of the
    summary that its words cover."""

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Span:
    """A place in the summary, at summary[start:end]."""

    text: str
    start: int
    end: int
    kind: Literal["number", "name"]


@dataclass(frozen=True)
class Evidence:
    """`sentences` of the document that support the summary, best first; `unsupported` in the order of the summary."""

    sentences: list[Sentence]
    unsupported: list[Span]


class _Word(NamedTuple):
    text: str
    start: int
    end: int
    key: str  # how it is compared

    @property
    def capital(self) -> bool:
        return self.text[0].isupper() or self.text[0].istitle()


def support(document: str, summary: str) -> Evidence:
    """What of `document` supports `summary`; time is linear in the document."""
    spans = list(_sentences(document))
    words = list(_words(document))
    return Evidence(_supporting(document, spans, words, summary), _unsupported(document, words, summary))


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    """Where sentences begin and end, without the blanks around them."""
    start = 0
    ends = [match.end() for match in END.finditer(text)]
    for end in [*(at for at in ends if not ABBREVIATED.search(text, max(0, at - 8), at)), len(text)]:
        part = text[start:end]
        if stripped := part.strip():
            first = start + len(part) - len(part.lstrip())
            yield first, first + len(stripped)
        start = end


def _words(text: str) -> Iterator[_Word]:
    for match in WORD.finditer(text):
        whole = match.group()
        bare = POSSESSIVE.sub("", whole)
        if bare:
            yield _Word(bare, match.start(), match.start() + len(bare), _key(bare))


def _key(word: str) -> str:
    """Case, accents, points and a plural's s do not count."""
    if not word.isascii():
        word = "".join(sign for sign in unicodedata.normalize("NFKD", word) if not unicodedata.combining(sign))
        word = HYPHEN.sub("-", word)
    if word[-1] == "s" and len(word) > 2 and word[:-1].isupper():  # MPs
        word = word[:-1]
    word = word.casefold().replace(".", "")
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _supporting(document: str, spans: list[tuple[int, int]], words: list[_Word], summary: str) -> list[Sentence]:
    places: dict[str, list[int]] = defaultdict(list)  # in which sentences a word stands
    at = 0
    for word in words:
        while at < len(spans) - 1 and word.start >= spans[at][1]:
            at += 1
        where = places[word.key]
        if not where or where[-1] != at:
            where.append(at)
    scores: dict[int, float] = {}
    for start, end in _sentences(summary):
        weights = {}
        for word in _words(summary[start:end]):
            rarity = math.log(1 + len(spans) / (1 + len(places.get(word.key, ()))))
            weights[word.key] = rarity * (SHORT if len(word.text) <= 3 and word.text.islower() else 1.0)
        whole = sum(weights.values())
        left = dict(weights)
        for _ in range(MOST):
            gains: dict[int, float] = defaultdict(float)
            for key, weight in left.items():
                for place in places.get(key, ()):
                    gains[place] += weight
            if not gains:
                break
            best = max(gains, key=lambda place: (round(gains[place], 9), -place))
            if gains[best] < LEAST_GAIN * whole:
                break
            covered = sum(weight for key, weight in weights.items() if _holds(places.get(key), best))
            scores[best] = max(scores.get(best, 0.0), covered / whole)
            left = {key: weight for key, weight in left.items() if not _holds(places.get(key), best)}
    ranked = sorted(scores, key=lambda place: (-round(scores[place], 4), place))
    return [Sentence(document[slice(*spans[p])], *spans[p], round(scores[p], 4)) for p in ranked]


def _holds(places: list[int] | None, place: int) -> bool:
    """Whether the sorted list has it."""
    if not places:
        return False
    at = bisect_left(places, place)
    return at < len(places) and places[at] == place


def _unsupported(document: str, words: list[_Word], summary: str) -> list[Span]:
    known = {value for number in numbers(document) for value in (*number.values, *number.parts)}
    missing = [
        Span(summary[number.start : number.end], number.start, number.end, "number")
        for number in numbers(summary)
        if not number.vague and known.isdisjoint(number.values)
    ]
    keys = {part for word in words for part in (word.key, *_parts(word))}
    initials = {_initials(run) for run in _runs(document, words)}
    found = list(_words(summary))
    begins = [word.start for word in found]
    at = [bisect_left(begins, start) for start, _ in _sentences(summary)]
    starts = {begins[first] for first in at if first < len(begins)}
    runs = {word: run for run in _runs(summary, found) for word in run}
    last: Span | None = None
    for word in found:
        if not word.capital or not _is_name(word, starts, runs.get(word, ())):
            continue
        bare = HYPHEN.sub("", word.key)
        parts = _parts(word)
        if word.key in keys or bare in keys or (parts and all(part in keys for part in parts)):
            continue
        if word.key in initials or _initials(runs.get(word, ())) in keys:
            continue
        if last and len(summary[last.end : word.start].strip(" ")) == 0:
            missing.remove(last)
            last = Span(summary[last.start : word.end], last.start, word.end, "name")
        else:
            last = Span(word.text, word.start, word.end, "name")
        missing.append(last)
    names = [span for span in missing if span.kind == "name"]
    apart = [
        span
        for span in missing
        if span.kind == "name" or not any(name.start <= span.start < name.end for name in names)
    ]
    return sorted(apart, key=lambda span: span.start)


def _parts(word: _Word) -> list[str]:
    """The keys of what hyphens join; figures among them are numbers and are looked at as such."""
    if not HYPHEN.search(word.text):
        return []
    return [_key(part) for part in HYPHEN.split(word.text) if part and not part.isdecimal()]


def _is_name(word: _Word, starts: set[int], run: tuple[_Word, ...]) -> bool:
    """A capital inside a sentence, or at its beginning where more than the place speaks for a name."""
    if sum(sign.isupper() for sign in word.text) > 1:
        return True
    if re.split("['’]", word.text)[0].casefold() in OPENERS:  # They're
        return False
    return word.start not in starts or len(run) > 1


def _runs(text: str, words: list[_Word]) -> Iterator[tuple[_Word, ...]]:
    """Capitalised words that follow each other, small joining words between them left out."""
    run: list[_Word] = []
    end = 0
    for word in words:
        near = not run or text[end : word.start].strip(" ") in ("", "&")
        opener = not run and word.text.casefold() in OPENERS
        if word.capital and near and not opener:
            run.append(word)
        elif run and near and word.key in JOINING:
            pass
        else:
            if run:
                yield tuple(run)
            run = [word] if word.capital and word.text.casefold() not in OPENERS else []
        end = word.end
    if run:
        yield tuple(run)


def _initials(run: tuple[_Word, ...]) -> str:
    """What an acronym of the run would be; a single word has none."""
    return "".join(_key(word.text[0]) for word in run) if len(run) > 1 else "\0"
