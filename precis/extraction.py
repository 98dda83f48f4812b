"""Extraction: which sentences of a text are scored against which source, and which of them are selected.

A text that the model reads in one is the source of all its candidate sentences. Of a longer text, each chunk is the
source of its own ones; the best of every chunk then stand side by side in a shorter source and are ranked again, until
one source holds them all. Only complete sentences are selected, and each stands in the text.

Sentences are scored by the sentence ranker of the bundle, or, in a bundle without one, by the decoder's probability.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from precis.params import ResolvedParams
from precis.scheduling.sequence import Sequence
from precis.text.body import body_sentences
from precis.text.candidates import Candidate, Span, best_indices, candidate_sentences, eligible
from precis.text.sentence_features import feature_scores
from precis.text.token_spans import token_spans
from precis.text.tokenizer import TextTokenizer

SCORE_DIGITS = 6  # after the decimal point


@dataclass(frozen=True)
class ExtractedSentence:
    """A selected sentence, at text[start:end] in characters.

    `score` ranks the sentences of one text: the higher, the better. It is the sentence ranker's score, or the
    log-probability of the sentence, normalized by its length in tokens.
    """

    start: int
    end: int
    score: float


@dataclass(frozen=True)
class _Scored:
    """A candidate with its tokens, the part of its score that needs no network, and its latest score."""

    candidate: Candidate
    tokens: list[int]
    feature_score: float
    score: float = 0.0


@dataclass(frozen=True)
class _Source:
    """What the model reads in one, with the candidates that it contains."""

    items: list[_Scored]
    input_ids: list[int]
    token_spans: list[Span]  # of the items; empty if the decoder scores them


class Extraction:
    """The stages of one request: `start`, then `advance` until no sequences are left to run."""

    def __init__(
        self,
        tokenizer: TextTokenizer,
        text: str,
        input_ids: list[int],
        params: ResolvedParams,
        split: bool,
        is_cancelled: Callable[[], bool],
        feature_weights: Mapping[str, float],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """`input_ids` are the tokens of `text`; with `split`, a text of more than the model reads is read in chunks.

        `feature_weights` are those of the bundle's sentence ranker, empty if it has none. `check` is called during long
        work, and what it raises ends it.
        """
        self._tokenizer, self._params, self._is_cancelled = tokenizer, params, is_cancelled
        self._feature_weights = feature_weights
        self.truncated_tokens = 0
        self.margin = math.nan  # between the scores of the selected sentences and the others, after the last stage
        self._selected: list[_Scored] = []
        if len(input_ids) > tokenizer.limit and split:
            spans = tokenizer.chunk_spans(text, check)
            parts = [(start, text[start:end], tokenizer.encode(text[start:end], check)) for start, end in spans]
        else:
            spans = [(0, len(text) if len(input_ids) <= tokenizer.limit else tokenizer.read_end(text, check))]
            parts = [(0, text, input_ids)]
        self.chunks = len(spans)
        groups = self._candidates(text, spans, check)
        self._sources = []
        for (start, part, ids), group in zip(parts, groups, strict=True):
            if group:
                places = [(item.candidate.start - start, item.candidate.end - start) for item in group]
                self._sources.append(self._source(part, ids, group, places))

    def start(self) -> list[Sequence]:
        """The rankings of the present stage, one for each source; empty if no sentence of the text was read."""
        self._sequences = [
            Sequence(source.input_ids, self._params, self._is_cancelled, sentence_spans=source.token_spans)
            if source.token_spans
            else Sequence(
                source.input_ids, self._params, self._is_cancelled, sentences=[item.tokens for item in source.items]
            )
            for source in self._sources
        ]
        return self._sequences

    def advance(self) -> list[Sequence]:
        """The rankings of the next stage, once those of the present one are finished; empty after the last stage."""
        scored = [
            [replace(item, score=score + item.feature_score) for item, score in zip(source.items, scores, strict=True)]
            for source, scores in zip(self._sources, (sequence.scores for sequence in self._sequences), strict=True)
        ]
        count = self._params.sentences
        counts = [min(count, max(1, len(group) // 2)) for group in scored]
        if sum(counts) < count or len(scored) == 1:
            counts = [count] * len(scored)
        best = [item for group, number in zip(scored, counts, strict=True) for item in _best(group, number)]
        groups = self._pack(best) if len(scored) > 1 else []
        # Where sentences are so long that their sources would not become fewer, the scores that they have decide.
        if not groups or len(groups) >= len(scored):
            self._selected = _best(best, count)
            others = [item.score for group in scored for item in group if item not in self._selected]
            self.margin = min(item.score for item in self._selected) - max(others, default=math.inf)
            return []
        self._sources = [self._joined(group) for group in groups]
        return self.start()

    @property
    def sentences(self) -> list[ExtractedSentence]:
        """The selected sentences in the order of the text, after the last stage."""
        return [
            ExtractedSentence(item.candidate.start, item.candidate.end, round(item.score, SCORE_DIGITS))
            for item in self._selected
        ]

    @property
    def summary(self) -> str:
        """The selected sentences joined by a space, each run of whitespace in them one space."""
        return " ".join(item.candidate.text for item in self._selected)

    @property
    def token_ids(self) -> list[int]:
        """The tokens of the selected sentences without end tokens."""
        return [token for item in self._selected for token in self._params.strip_special_tokens(item.tokens)]

    def _candidates(self, text: str, spans: list[tuple[int, int]], check: Callable[[], None]) -> list[list[_Scored]]:
        """The candidate sentences of each span."""
        sentences = body_sentences(text)
        groups: list[list[Candidate]] = []
        read = 0  # chunks overlap, and a sentence is a candidate of the first one that holds it
        for start, end in spans:
            groups.append(candidate_sentences(text, max(start, read), end, sentences))
            read = end
        if not any(groups):  # the model reads nothing but whitespace, or a part of one character
            groups[0] = candidate_sentences(text)[:1]
        remaining = set(eligible([candidate for group in groups for candidate in group]))
        groups = [[candidate for candidate in group if candidate in remaining] for group in groups]
        texts = [candidate.text for group in groups for candidate in group]
        tokens = iter(self._tokenizer.encode_sentences(texts, check))
        scores = iter(feature_scores(texts, self._feature_weights) if self._feature_weights else [0.0] * len(texts))
        return [[_Scored(candidate, next(tokens), next(scores)) for candidate in group] for group in groups]

    def _source(self, text: str, input_ids: list[int], items: list[_Scored], spans: list[Span]) -> _Source:
        """The source of `items`, which stand at `spans` (characters) in `text`, encoded as `input_ids`."""
        self.truncated_tokens += max(0, len(input_ids) - self._tokenizer.limit)
        input_ids = self._tokenizer.truncate(input_ids)
        if not self._feature_weights:
            return _Source(items, input_ids, [])
        return _Source(items, input_ids, token_spans(self._tokenizer.token_offsets(text)[: len(input_ids) - 1], spans))

    def _joined(self, items: list[_Scored]) -> _Source:
        """The source in which the sentences of `items` stand side by side."""
        text, spans = "", []
        for item in items:
            start = len(text) + 1 if text else 0
            text = f"{text} {item.candidate.text}".strip()
            spans.append((start, len(text)))
        return self._source(text, self._tokenizer.encode(text), items, spans)

    def _pack(self, items: list[_Scored]) -> list[list[_Scored]]:
        """`items` in order, in as few groups as fit into a source each."""
        prefix = len(self._tokenizer.encode(""))
        groups: list[list[_Scored]] = []
        room = 0
        for item in items:
            if not groups or len(item.tokens) > room:
                groups.append([])
                room = self._tokenizer.limit - prefix
            groups[-1].append(item)
            room -= len(item.tokens)  # the end token makes up for one that joining may add
        return groups


def _best(items: list[_Scored], count: int) -> list[_Scored]:
    """The `count` items with the highest scores, in order."""
    return [items[index] for index in best_indices([item.score for item in items], count)]
