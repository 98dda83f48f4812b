"""Finds the sentences of a document that support its summary, and words of the summary that the document lacks.

It compares words, quickly and deterministically; it does not understand them. A sentence supports a summary as far as
they share words, and rare words of the document count more. A number is unsupported if the document has it in no known
spelling (1,000, 1000, "a thousand"), a name if the document has none of its spellings (case, accents, possessive,
plural, an acronym or the name it stands for). So a true figure that the document only implies is listed, and a real
name with a wrong deed is not. Names are recognized by their capitals: none in scripts without case, and every noun in
German. Number words are read in English only. Of the other words those are listed of which the document has no
regular form ("approves" for "approved"); small words such as "of" are not.
"""

import math
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from precis.grounding.alignment import Alignment, align
from precis.grounding.numerals import numbers
from precis.grounding.words import HYPHEN, SMALL_WORDS, Word, hyphenated_keys, key, stem, words
from precis.text.abbreviations import OPENERS
from precis.text.sentences import sentence_spans

MAX_SENTENCES = 3  # of the document for one of the summary
MIN_GAIN = 0.15  # fraction of a summary sentence's weight that a further sentence has to cover
CHECK_INTERVAL = 1024  # words or numbers between two calls of `check`
MAX_RUN = 64  # words of a name
SHORT_WORD_WEIGHT = 0.1  # of words of up to three small letters, most of which carry no meaning

CONNECTORS = frozenset(("of", "the", "and", "for", "in", "de", "la", "du"))  # small words within a name

Item = TypeVar("Item")


@dataclass(frozen=True)
class Sentence:
    """A supporting sentence, at document[start:end]. `score` is the weighted fraction (0 to 1) of a summary sentence
    that its words cover."""

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Span:
    """A number or name of the summary, at summary[start:end], that the document lacks."""

    text: str
    start: int
    end: int
    kind: Literal["number", "name"]


@dataclass(frozen=True)
class NovelWord:
    """A word, number or name of the summary, at summary[start:end], that the document has in no form."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Grounding(Alignment):
    """The alignment of a summary with its document, and the `novel` words in order."""

    novel: list[NovelWord]


@dataclass(frozen=True)
class Evidence:
    """The document's `sentences` that support the summary, best first, what is `unsupported`, in order, and what of
    the summary is copied from where."""

    sentences: list[Sentence]
    unsupported: list[Span]
    grounding: Grounding


def find_evidence(document: str, summary: str, check: Callable[[], None] = lambda: None) -> Evidence:
    """What in `document` supports `summary`, and what in `summary` it does not; in time linear in the document.

    `check` is called now and then; what it raises ends the search.
    """
    index = _DocumentIndex(document, summary, check)
    unsupported = _unsupported_spans(document, index, summary, check)
    alignment = align(document, summary, check)
    grounding = Grounding(**vars(alignment), novel=_novel_words(index, summary, alignment, unsupported))
    return Evidence(_supporting_sentences(document, index, summary, check), unsupported, grounding)


class _DocumentIndex:
    """Where a document has what a summary asks for; of other words it keeps nothing, so that long texts need no memory.

    `spans` are the document's sentences and `sentences` the sorted numbers of those that hold each key. `keys` are the
    keys, of words and of parts of hyphenated ones, the `stems` and the acronyms of names that occur.
    """

    def __init__(self, document: str, summary: str, check: Callable[[], None]) -> None:
        summary_words = list(words(summary))
        summary_keys = {word.key for word in summary_words}
        for word in summary_words:
            summary_keys.update((HYPHEN.sub("", word.key), *hyphenated_keys(word)))
        summary_keys.update(map(_acronym, _capitalized_runs(summary, summary_words)))
        summary_stems = set(map(stem, summary_keys))
        self.stems: set[str] = set()
        self.spans = list(sentence_spans(document))
        by_key: dict[str, list[int]] = defaultdict(list)
        self.keys: set[str] = set()
        sentence = 0
        for word in _checked(words(document), check):
            while sentence < len(self.spans) - 1 and word.start >= self.spans[sentence][1]:
                sentence += 1
            if word.key in summary_keys and (not by_key[word.key] or by_key[word.key][-1] != sentence):
                by_key[word.key].append(sentence)
            self.keys.update(summary_keys.intersection(parts := hyphenated_keys(word)))
            self.stems.update(summary_stems.intersection(map(stem, (word.key, *parts))))
        self.keys.update(by_key)
        self.sentences = {word_key: np.array(numbers) for word_key, numbers in by_key.items()}
        runs = _capitalized_runs(document, _checked(words(document), check))
        self.acronyms = summary_keys.intersection(map(_acronym, runs))

    def has(self, word: Word) -> bool:
        """Whether the document has the word, its parts, or the name that it is the acronym of."""
        parts = hyphenated_keys(word)
        return (
            bool({word.key, HYPHEN.sub("", word.key)} & self.keys)
            or bool(parts and self.keys.issuperset(parts))
            or word.key in self.acronyms
        )


def _checked(items: Iterable[Item], check: Callable[[], None]) -> Iterator[Item]:
    """The items; calls `check` between some of them."""
    for number, item in enumerate(items):
        if not number % CHECK_INTERVAL:
            check()
        yield item


def _supporting_sentences(
    document: str, index: _DocumentIndex, summary: str, check: Callable[[], None]
) -> list[Sentence]:
    """For each sentence of the summary, the sentences that together cover most of its weight, chosen greedily."""
    spans = index.spans
    nowhere = np.array([], dtype=np.int64)
    scores: dict[int, float] = {}
    for text in dict.fromkeys(summary[start:end] for start, end in sentence_spans(summary)):
        check()
        weights = {}
        for word in words(text):
            rarity = math.log(1 + len(spans) / (1 + len(index.sentences.get(word.key, nowhere))))
            weights[word.key] = rarity * (SHORT_WORD_WEIGHT if len(word.text) <= 3 and word.text.islower() else 1.0)
        total = sum(weights.values())
        uncovered = weights
        for _ in range(MAX_SENTENCES):
            gains = np.zeros(len(spans))
            for word_key, weight in uncovered.items():
                gains[index.sentences.get(word_key, nowhere)] += weight
            best = int(np.round(gains, 9).argmax()) if spans else 0  # the first of equal ones
            if not spans or not gains[best] or gains[best] < MIN_GAIN * total:
                break
            held = {word_key for word_key in weights if _contains(index.sentences.get(word_key, nowhere), best)}
            covered = sum(weight for word_key, weight in weights.items() if word_key in held)
            scores[best] = max(scores.get(best, 0.0), covered / total)
            uncovered = {word_key: weight for word_key, weight in uncovered.items() if word_key not in held}
    ranked = sorted(scores, key=lambda sentence: (-round(scores[sentence], 4), sentence))
    return [Sentence(document[slice(*spans[i])], *spans[i], round(scores[i], 4)) for i in ranked]


def _contains(values: npt.NDArray[np.int64], value: int) -> bool:
    """Whether the sorted array `values` holds `value`."""
    at = int(values.searchsorted(value))
    return at < len(values) and int(values[at]) == value


def _unsupported_spans(document: str, index: _DocumentIndex, summary: str, check: Callable[[], None]) -> list[Span]:
    summary_numbers = list(numbers(summary))
    summary_values = {value for number in summary_numbers for value in number.values}
    known: set[str] = set()
    for number in _checked(numbers(document), check):
        known.update(summary_values.intersection((*number.values, *number.parts)))
    names = _unsupported_names(index, summary)
    unsupported = [
        Span(summary[number.start : number.end], number.start, number.end, "number")
        for number in summary_numbers
        if not number.vague
        and known.isdisjoint(number.values)
        and not any(name.start <= number.start < name.end for name in names)
    ]
    return sorted([*unsupported, *names], key=lambda span: span.start)


def _unsupported_names(index: _DocumentIndex, summary: str) -> list[Span]:
    keys = index.keys
    summary_words = list(words(summary))
    starts = [word.start for word in summary_words]
    firsts = [bisect_left(starts, start) for start, _ in sentence_spans(summary)]
    sentence_starts = {starts[first] for first in firsts if first < len(starts)}
    runs = {word: run for run in _capitalized_runs(summary, summary_words) for word in run}
    names: list[Span] = []
    for word in summary_words:
        run = runs.get(word, ())
        if not word.capitalized or not _is_name(word, sentence_starts, run):
            continue
        if index.has(word) or _acronym(run) in keys:
            continue
        start = word.start
        if names and not summary[names[-1].end : start].strip(" "):  # "Anna Bell" is one name
            start = names.pop().start
        names.append(Span(summary[start : word.end], start, word.end, "name"))
    return names


def _novel_words(index: _DocumentIndex, summary: str, alignment: Alignment, unsupported: list[Span]) -> list[NovelWord]:
    """The unsupported numbers and names, and the other words of which the document has no form."""
    summary_words = list(words(summary))
    names = {word for run in _capitalized_runs(summary, summary_words) if _acronym(run) in index.keys for word in run}
    decided = [(number.start, number.end) for number in numbers(summary)]  # by their values
    decided += [(span.start, span.end) for span in unsupported]
    decided += [(span.start, span.end) for span in alignment.spans]
    novel = [NovelWord(span.start, span.end, span.text) for span in unsupported]
    remaining = iter(sorted(decided))
    start, end = next(remaining, (len(summary), len(summary)))
    for word in summary_words:
        while end <= word.start:
            start, end = next(remaining, (len(summary), len(summary) + 1))
        is_known = word.start >= start or word.key in SMALL_WORDS or word in names
        if not is_known and not index.has(word) and stem(word.key) not in index.stems:
            novel.append(NovelWord(word.start, word.end, word.text))
    return sorted(novel, key=lambda word: word.start)


def _is_name(word: Word, sentence_starts: set[int], run: tuple[Word, ...]) -> bool:
    """Whether a capitalized word is a name; at the head of a sentence a second capital has to confirm it."""
    if sum(char.isupper() for char in word.text) > 1:
        return True
    if re.split("['’]", word.text)[0].casefold() in OPENERS:  # They're
        return False
    return word.start not in sentence_starts or len(run) > 1


def _capitalized_runs(text: str, text_words: Iterable[Word]) -> Iterator[tuple[Word, ...]]:
    """Capitalized words that follow one another, without the connectors between them; at most MAX_RUN of them."""
    run: list[Word] = []
    end = 0
    for word in text_words:
        adjacent = not run or text[end : word.start].strip(" ") in ("", "&")
        is_opener = word.text.casefold() in OPENERS
        if word.capitalized and adjacent and (run or not is_opener) and len(run) < MAX_RUN:
            run.append(word)
        elif not (run and adjacent and word.key in CONNECTORS):
            if run:
                yield tuple(run)
            run = [word] if word.capitalized and not is_opener else []
        end = word.end
    if run:
        yield tuple(run)


def _acronym(run: tuple[Word, ...]) -> str:
    """The key of the run's acronym; a single word has none ("\\0" equals no key)."""
    return "".join(key(word.text[0]) for word in run) if len(run) > 1 else "\0"
