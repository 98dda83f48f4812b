"""Aligns a summary with its document: what stands there word for word, and where pieces were joined.

Spans are the extractive fragments of Grusky et al. (2018, "Newsroom"): from each word of the summary on, the longest
run of words that the document has, taken greedily, in time linear in both texts.

Words are compared without regard to case, style of quotes and dashes, and Unicode form; signs (£, %, -5) count as
words, other punctuation does not. A span crosses no full stop on either side. It has at least MIN_WORDS words,
or stands next to such a span, or is a complete sentence of the summary.
"""

import re
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from precis.grounding.suffix_automaton import Match, SuffixAutomaton
from precis.grounding.tokens import SourceToken, Token, source_tokens, text_tokens
from precis.grounding.words import SMALL_WORDS, Spelling, is_negation, key, stem
from precis.text.sentences import sentence_spans

MIN_WORDS = 3  # of a span; shorter runs occur by chance
MAX_BETWEEN = 64  # characters between two spans that may be other forms of the same words
# A sentence that begins with one of them speaks of what the sentence before it names.
_PRONOUNS = "he she it they him her them his hers its their theirs this that these those such who which"
PRONOUNS = frozenset(_PRONOUNS.split())
_SENTENCE_END = re.compile("[.!?…।॥؟۔።։。！？｡]")


@dataclass(frozen=True)
class AlignedSpan:
    """Words that stand in both texts: summary[start:end] is document[source_start:source_end]."""

    start: int
    end: int
    source_start: int
    source_end: int


@dataclass(frozen=True)
class Seam:
    """Where copied pieces meet that do not follow each other in the document.

    `at` is the place in the summary, and `sources` are the spans (start, end) in the document of the piece before it
    and of the piece that begins there. A negation that stands before a piece in its sentence and was left out is a
    piece of the first kind.
    """

    at: int
    sources: tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Alignment:
    """A summary's spans and seams in order.

    `copied_share` is the share (0 to 1) of its words in spans. `verbatim` says that each of its sentences is one span,
    without a seam.
    """

    verbatim: bool
    copied_share: float
    seams: list[Seam]
    spans: list[AlignedSpan]


SEPARATOR = "\0"  # between the summary's sentences; no span crosses it


class _Place(NamedTuple):
    """A span with what seams depend on: indices of its tokens on both sides, and the document's sentence."""

    first: int
    last: int
    source_first: int
    source_last: int
    sentence: int
    negation: int


@dataclass
class _Source:
    """The document's tokens, as numbers only: where each begins and ends, in characters."""

    starts: "array[int]" = field(default_factory=lambda: array("q"))
    ends: "array[int]" = field(default_factory=lambda: array("q"))

    def span(self, first: int, last: int) -> tuple[int, int]:
        """(start, end) of the tokens from `first` to `last`, in characters."""
        return self.starts[first], self.ends[last]


def align(document: str, summary: str, check: Callable[[], None] = lambda: None) -> Alignment:
    """The alignment of `summary` with `document`; `check` is called now and then, and what it raises ends it."""
    aligner = Aligner(document, summary, list(sentence_spans(summary)))
    for token in source_tokens(document, list(sentence_spans(document)), aligner.matters, check):
        aligner.read(token)
    return aligner.alignment()


class Aligner:
    """Aligns a summary with its document, whose tokens it reads in order: all signs, and the words that matter."""

    def __init__(self, document: str, summary: str, sentences: list[tuple[int, int]]) -> None:
        self._document = document
        self._sentences = [part for span in sentences if (part := list(text_tokens(summary, *span)))]
        forms = [form for part in self._sentences for form in (*(token.form for token in part), SEPARATOR)]
        self._automaton = SuffixAutomaton(forms)
        self._forms = {*forms, *(form.removesuffix("'s").rstrip("'") for form in forms)}
        self._source = _Source()
        self._sentence = self._negation = -1

    def matters(self, spelling: Spelling) -> bool:
        """Whether words so spelled have to be read."""
        return spelling.negates or spelling.form in self._forms

    def read(self, token: SourceToken) -> None:
        """Takes in the next token."""
        source, index = self._source, len(self._source.starts)
        is_new = token.sentence != self._sentence
        # What follows a heading or a list's item without a full stop may be joined to it as it stands.
        if not token.follows or (is_new and _SENTENCE_END.search(self._document, source.ends[-1], token.start)):
            self._automaton.restart()
        if is_new:
            self._sentence, self._negation = token.sentence, -1
        if self._negation < 0 and is_negation(token.form):
            self._negation = index
        source.starts.append(token.start)
        source.ends.append(token.end)
        self._automaton.read(token.form, index, token.sentence, self._negation)

    def alignment(self) -> Alignment:
        """The alignment, once all tokens are read."""
        matches = iter(self._automaton.matches())
        seams: list[Seam] = []
        spans: list[AlignedSpan] = []
        copied, complete, previous = 0, True, None
        for part in self._sentences:
            places = _places(part, [next(matches) for _ in (*part, SEPARATOR)][:-1])
            seams += _seams(part, places, previous, self._source, self._document)
            spans += [
                AlignedSpan(part[place.first].start, part[place.last].end, *self._source.span(*place[2:4]))
                for place in places
            ]
            copied += sum(place.last - place.first + 1 for place in places)
            complete = complete and len(places) == 1
            previous = places[-1] if places else previous
        total = sum(map(len, self._sentences))
        verbatim = complete and copied == total > 0 and not seams
        return Alignment(verbatim, round(copied / total, 4) if total else 0.0, seams, spans)


def _places(tokens: list[Token], matches: list[Match | None]) -> list[_Place]:
    """The spans of one sentence in order; `matches` are those of its tokens."""
    runs = list(_runs(matches, 0, len(matches), MIN_WORDS))
    if not runs:
        runs = [run for run in _runs(matches, 0, len(matches), 1) if run.last - run.first + 1 == len(matches)]
    # A changed name or number is often one of the document's others: few words, at the end of a long run.
    places: list[_Place] = []
    for before, after in pairwise((None, *runs, None)):
        first, end = (before.last + 1 if before else 0), (after.first if after else len(matches))
        for run in _runs(matches, first, end, 1):
            touches = (before and run.first == first) or (after and run.last == end - 1)
            if touches and any(key(token.form) not in SMALL_WORDS for token in tokens[run.first : run.last + 1]):
                places.append(run)
        places += [after] if after else []
    return places


def _runs(matches: list[Match | None], first: int, stop: int, shortest: int) -> Iterator[_Place]:
    """The longest runs from token `first` to before token `stop`, one after the other, greedily."""
    end = first
    while first < stop:
        end = max(end, first)
        # The beginnings of the longest runs never go back, so `end` does not either.
        while end < stop and (match := matches[end]) and end - match.length < first:
            end += 1
        match = matches[end - 1]
        if match and end - first >= shortest:
            yield _Place(first, end - 1, match.end - (end - first) + 1, *match[1:])
            first = end
        else:
            first += 1


def _seams(
    tokens: list[Token], places: list[_Place], previous: _Place | None, source: _Source, document: str
) -> Iterator[Seam]:
    """The seams of one sentence; `previous` is the last span before it."""
    if not places:
        return
    first = places[0]
    if previous and tokens[0].form in PRONOUNS and first.sentence - previous.sentence not in (0, 1):
        yield _seam(tokens, previous, first, source)
    elif (negation := _dropped_negation(tokens, places)) is not None:
        yield Seam(tokens[first.first].start, (source.span(negation, negation), source.span(*first[2:4])))
    for before, after in pairwise(places):
        replaced = tokens[before.last + 1 : after.first]
        between = document[source.ends[before.source_last] : source.starts[after.source_first]]
        if after.source_first <= before.source_last or not _continues(replaced, between):
            yield _seam(tokens, before, after, source)


def _continues(replaced: list[Token], between: str) -> bool:
    """Whether two spans with `between` between them in the document and `replaced` in the summary are one statement.

    They are if both are nothing, or if each word is another form of the other side's ("approves" for "approved").
    """
    if len(between) > MAX_BETWEEN:
        return False
    original = [stem(key(token.form)) for token in text_tokens(between, 0, len(between))]
    return original == [stem(key(token.form)) for token in replaced] and not _SENTENCE_END.search(between)


def _dropped_negation(tokens: list[Token], places: list[_Place]) -> int | None:
    """A negation of the document's sentence that stands before the first span, if the summary's sentence has none."""
    negation, first = places[0].negation, places[0].source_first
    if not 0 <= negation < first or any(place.source_first <= negation <= place.source_last for place in places):
        return None
    return None if any(is_negation(token.form) for token in tokens) else negation


def _seam(tokens: list[Token], before: _Place, after: _Place, source: _Source) -> Seam:
    return Seam(tokens[after.first].start, (source.span(*before[2:4]), source.span(*after[2:4])))
