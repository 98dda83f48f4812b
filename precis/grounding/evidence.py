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
from array import array
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from precis.grounding.alignment import Aligner, Alignment
from precis.grounding.index import DocumentIndex, SummaryWords, checked
from precis.grounding.names import acronym, is_name
from precis.grounding.numerals import numbers
from precis.grounding.tokens import source_tokens
from precis.grounding.verbatim import copied_sentence
from precis.grounding.words import SMALL_WORDS, Spelling
from precis.text.sentences import sentence_spans

MAX_SENTENCES = 3  # of the document for one of the summary
MIN_GAIN = 0.15  # fraction of a summary sentence's weight that a further sentence has to cover
SHORT_WORD_WEIGHT = 0.1  # of words of up to three small letters, most of which carry no meaning


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
    check()
    sentences, summary_sentences = list(sentence_spans(document)), list(sentence_spans(summary))
    if copied := copied_sentence(document, sentences, summary, summary_sentences):
        number, alignment = copied
        start, end = sentences[number]
        return Evidence([Sentence(document[start:end], start, end, 1.0)], [], Grounding(**vars(alignment), novel=[]))
    asked, aligner = SummaryWords(summary, summary_sentences), Aligner(document, summary, summary_sentences)
    index = DocumentIndex(document, sentences, asked, check)

    def matters(spelling: Spelling) -> bool:
        return aligner.matters(spelling) or index.matters(spelling)

    for token in source_tokens(document, index.spans, matters, check):
        aligner.read(token)
        index.read(token)
    unsupported = _unsupported_spans(document, index, asked, check)
    alignment = aligner.alignment()
    grounding = Grounding(**vars(alignment), novel=_novel_words(index, asked, alignment, unsupported))
    return Evidence(_supporting_sentences(document, index, asked, check), unsupported, grounding)


def _supporting_sentences(
    document: str, index: DocumentIndex, summary: SummaryWords, check: Callable[[], None]
) -> list[Sentence]:
    """For each sentence of the summary, the sentences that together cover most of its weight, chosen greedily."""
    spans = index.spans
    nowhere = array("q")
    scores: dict[int, float] = {}
    for sentence_words in summary.words_by_sentence():
        check()
        weights = {}
        for word in sentence_words:
            rarity = math.log(1 + len(spans) / (1 + len(index.sentences.get(word.key, nowhere))))
            weights[word.key] = rarity * (SHORT_WORD_WEIGHT if len(word.text) <= 3 and word.text.islower() else 1.0)
        total = sum(weights.values())
        uncovered = weights
        for _ in range(MAX_SENTENCES):
            gains = _gains([(index.sentences.get(key, nowhere), uncovered[key]) for key in uncovered], len(spans))
            best = int(np.round(gains, 9).argmax()) if spans else 0  # the first of equal ones
            if not spans or not gains[best] or gains[best] < MIN_GAIN * total:
                break
            held = {key for key in weights if _contains(index.sentences.get(key, nowhere), best)}
            covered = sum(weight for key, weight in weights.items() if key in held)
            scores[best] = max(scores.get(best, 0.0), covered / total)
            uncovered = {key: weight for key, weight in uncovered.items() if key not in held}
    ranked = sorted(scores, key=lambda sentence: (-round(scores[sentence], 4), sentence))
    return [Sentence(document[slice(*spans[i])], *spans[i], round(scores[i], 4)) for i in ranked]


def _gains(weighted: list[tuple["array[int]", float]], count: int) -> npt.NDArray[np.float64]:
    """For each of `count` sentences the sum of the weights of what it holds, (count,)."""
    places = array("q")
    for sentences, _ in weighted:
        places.extend(sentences)
    weights = np.repeat([weight for _, weight in weighted], [len(sentences) for sentences, _ in weighted])
    return np.bincount(np.array(places, dtype=np.int64), weights, minlength=count).astype(np.float64, copy=False)


def _contains(values: "array[int]", value: int) -> bool:
    """Whether the sorted `values` hold `value`."""
    at = bisect_left(values, value)
    return at < len(values) and values[at] == value


def _unsupported_spans(
    document: str, index: DocumentIndex, summary: SummaryWords, check: Callable[[], None]
) -> list[Span]:
    names = _unsupported_names(index, summary)
    in_names = {at for name in names for at in range(name.start, name.end)}
    missing = {n.start: n for n in summary.numbers if not n.vague and n.start not in in_names}
    starts_by_value: dict[str, list[int]] = {}
    for number in missing.values():
        for value in number.values:
            starts_by_value.setdefault(value, []).append(number.start)
    for number in checked(numbers(document), check) if missing else ():
        for value in (*number.values, *number.parts):
            for start in starts_by_value.pop(value, ()):
                missing.pop(start, None)
        if not missing:
            break
    spans = [Span(summary.text[each.start : each.end], each.start, each.end, "number") for each in missing.values()]
    return sorted([*spans, *names], key=lambda span: span.start)


def _unsupported_names(index: DocumentIndex, summary: SummaryWords) -> list[Span]:
    starts = [word.start for word in summary.words]
    firsts = [bisect_left(starts, start) for start, _ in summary.sentences]
    sentence_starts = {starts[first] for first in firsts if first < len(starts)}
    names: list[Span] = []
    for word in summary.words:
        run = summary.names.get(word, ())
        if not word.capitalized or not is_name(word, sentence_starts, run):
            continue
        if acronym(run) in index.keys or index.has(word):
            continue
        start = word.start
        if names and not summary.text[names[-1].end : start].strip(" "):  # "Anna Bell" is one name
            start = names.pop().start
        names.append(Span(summary.text[start : word.end], start, word.end, "name"))
    return names


def _novel_words(
    index: DocumentIndex, summary: SummaryWords, alignment: Alignment, unsupported: list[Span]
) -> list[NovelWord]:
    """The unsupported numbers and names, and the other words of which the document has no form."""
    decided = [(number.start, number.end) for number in summary.numbers]  # by their values
    decided += [(span.start, span.end) for span in unsupported]
    decided += [(span.start, span.end) for span in alignment.spans]
    novel = [NovelWord(span.start, span.end, span.text) for span in unsupported]
    remaining = iter(sorted(decided))
    size = len(summary.text)
    start, end = next(remaining, (size, size))
    for word in summary.words:
        while end <= word.start:
            start, end = next(remaining, (size, size + 1))
        if word.start >= start or word.key in SMALL_WORDS or acronym(summary.names.get(word, ())) in index.keys:
            continue
        if not index.has_form(word):
            novel.append(NovelWord(word.start, word.end, word.text))
    return sorted(novel, key=lambda word: word.start)
