"""Finds the sentences of a document that support its summary, and numbers and names that the document lacks.

It compares words, quickly and deterministically; it does not understand them. A sentence supports a summary as far as
they share words, and rare words of the document count more. A number is unsupported if the document has it in no known
spelling (1,000, 1000, "a thousand"), a name if the document has none of its spellings (case, accents, possessive,
plural, an acronym or the name it stands for). So a true figure that the document only implies is listed, and a real
name with a wrong deed is not. Names are recognized by their capitals: none in scripts without case, and every noun in
German. Number words are read in English only.
"""

import math
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from precis.grounding.numerals import numbers
from precis.grounding.words import HYPHEN, Word, hyphenated_keys, key, words
from precis.text.abbreviations import OPENERS
from precis.text.sentences import sentence_spans

MAX_SENTENCES = 3  # of the document for one of the summary
MIN_GAIN = 0.15  # fraction of a summary sentence's weight that a further sentence has to cover
SHORT_WORD_WEIGHT = 0.1  # of words of up to three small letters, most of which carry no meaning

CONNECTORS = frozenset(("of", "the", "and", "for", "in", "de", "la", "du"))  # small words within a name


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
class Evidence:
    """The document's `sentences` that support the summary, best first, and what is `unsupported`, in order."""

    sentences: list[Sentence]
    unsupported: list[Span]


def find_evidence(document: str, summary: str) -> Evidence:
    """What in `document` supports `summary`, and what in `summary` it does not; in time linear in the document."""
    document_words = list(words(document))
    return Evidence(
        _supporting_sentences(document, document_words, summary),
        _unsupported_spans(document, document_words, summary),
    )


def _supporting_sentences(document: str, document_words: list[Word], summary: str) -> list[Sentence]:
    """For each sentence of the summary, the sentences that together cover most of its weight, chosen greedily."""
    spans = list(sentence_spans(document))
    index = _sentences_by_key(spans, document_words)
    scores: dict[int, float] = {}
    for start, end in sentence_spans(summary):
        weights = {}
        for word in words(summary[start:end]):
            rarity = math.log(1 + len(spans) / (1 + len(index.get(word.key, ()))))
            weights[word.key] = rarity * (SHORT_WORD_WEIGHT if len(word.text) <= 3 and word.text.islower() else 1.0)
        total = sum(weights.values())
        uncovered = weights
        for _ in range(MAX_SENTENCES):
            gains: dict[int, float] = defaultdict(float)
            for word_key, weight in uncovered.items():
                for sentence in index.get(word_key, ()):
                    gains[sentence] += weight
            best = max(gains, key=lambda sentence: (round(gains[sentence], 9), -sentence), default=None)
            if best is None or gains[best] < MIN_GAIN * total:
                break
            covered = sum(weight for word_key, weight in weights.items() if _contains(index.get(word_key), best))
            scores[best] = max(scores.get(best, 0.0), covered / total)
            uncovered = {k: weight for k, weight in uncovered.items() if not _contains(index.get(k), best)}
    ranked = sorted(scores, key=lambda sentence: (-round(scores[sentence], 4), sentence))
    return [Sentence(document[slice(*spans[i])], *spans[i], round(scores[i], 4)) for i in ranked]


def _sentences_by_key(spans: list[tuple[int, int]], document_words: list[Word]) -> dict[str, list[int]]:
    """The sorted numbers of the sentences that hold each word."""
    index: dict[str, list[int]] = defaultdict(list)
    sentence = 0
    for word in document_words:
        while sentence < len(spans) - 1 and word.start >= spans[sentence][1]:
            sentence += 1
        sentences = index[word.key]
        if not sentences or sentences[-1] != sentence:
            sentences.append(sentence)
    return index


def _contains(values: list[int] | None, value: int) -> bool:
    """Whether the sorted list `values` holds `value`."""
    if not values:
        return False
    at = bisect_left(values, value)
    return at < len(values) and values[at] == value


def _unsupported_spans(document: str, document_words: list[Word], summary: str) -> list[Span]:
    known = {value for number in numbers(document) for value in (*number.values, *number.parts)}
    names = _unsupported_names(document, document_words, summary)
    unsupported = [
        Span(summary[number.start : number.end], number.start, number.end, "number")
        for number in numbers(summary)
        if not number.vague
        and known.isdisjoint(number.values)
        and not any(name.start <= number.start < name.end for name in names)
    ]
    return sorted([*unsupported, *names], key=lambda span: span.start)


def _unsupported_names(document: str, document_words: list[Word], summary: str) -> list[Span]:
    keys = {word_key for word in document_words for word_key in (word.key, *hyphenated_keys(word))}
    acronyms = {_acronym(run) for run in _capitalized_runs(document, document_words)}
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
        parts = hyphenated_keys(word)
        if word.key in keys or HYPHEN.sub("", word.key) in keys or (parts and keys.issuperset(parts)):
            continue
        if word.key in acronyms or _acronym(run) in keys:
            continue
        start = word.start
        if names and not summary[names[-1].end : start].strip(" "):  # "Anna Bell" is one name
            start = names.pop().start
        names.append(Span(summary[start : word.end], start, word.end, "name"))
    return names


def _is_name(word: Word, sentence_starts: set[int], run: tuple[Word, ...]) -> bool:
    """Whether a capitalized word is a name; at the head of a sentence a second capital has to confirm it."""
    if sum(char.isupper() for char in word.text) > 1:
        return True
    if re.split("['’]", word.text)[0].casefold() in OPENERS:  # They're
        return False
    return word.start not in sentence_starts or len(run) > 1


def _capitalized_runs(text: str, text_words: list[Word]) -> Iterator[tuple[Word, ...]]:
    """Capitalized words that follow one another, without the connectors between them."""
    run: list[Word] = []
    end = 0
    for word in text_words:
        adjacent = not run or text[end : word.start].strip(" ") in ("", "&")
        is_opener = word.text.casefold() in OPENERS
        if word.capitalized and adjacent and (run or not is_opener):
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
