"""The rankings of the running batch: given sentences of a text are scored.

Where the bundle has a sentence ranker the encoder scores them; elsewhere the decoder does, a few between two steps.
"""

import functools
import time
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from precis.runtime.encoder_pool import EncoderPool
from precis.runtime.model import Seq2SeqModel
from precis.runtime.sentence_scorer import SentenceScorer, Source, new_sentence_scorer
from precis.scheduling.sequence import Sequence


class RankingTurn(NamedTuple):
    """How many tokens of sentences a turn scored for each ranking, and in how many seconds."""

    tokens: dict[Sequence, int]
    seconds: float


class RankingQueue:
    """Rankings that are encoded and wait for their turn. Not thread-safe.

    By the encoder, a sentence's score is the mean of its tokens' scores. By the decoder it is the one by which beam
    search ranks finished sequences: the sum of the log-probabilities of its tokens and the end token, divided by their
    number to the power of `length_penalty`.
    """

    def __init__(self, model: Seq2SeqModel, max_source_tokens: int) -> None:
        """For sources of at most `max_source_tokens` tokens."""
        self._model, self._max_source_tokens = model, max_source_tokens
        self._ranked: list[Sequence] = []  # by the encoder, and not yet returned by `step`
        self._waiting: dict[Sequence, Source] = {}  # in the order in which they joined
        self.last_turn = RankingTurn({}, 0.0)
        self._current: Sequence | None = None  # the one whose source is in the scorer's cache

    @functools.cached_property
    def _scorer(self) -> SentenceScorer:
        return new_sentence_scorer(self._model, self._max_source_tokens)  # its memory is needed only for rankings

    @functools.cached_property
    def _score_tokens(self) -> EncoderPool[npt.NDArray[np.float32]]:
        model = self._model
        return EncoderPool(model.token_scores, model.token_scores_in_parallel, model.encoder_workers)

    @property
    def sequences(self) -> list[Sequence]:
        """The rankings that are not finished, in the order in which they joined."""
        return [*self._ranked, *self._waiting]

    def admit(self, sequences: list[Sequence]) -> dict[Sequence, Exception]:
        """Encodes the sources of `sequences`; returns those that could not be encoded with their exceptions."""
        by_encoder = [sequence for sequence in sequences if sequence.sentence_spans]
        failed = self._rank_by_encoder(by_encoder) if by_encoder else {}
        sequences = [sequence for sequence in sequences if not sequence.sentence_spans]
        if not sequences:
            return failed
        sources = self._scorer.encode([sequence.input_ids for sequence in sequences])
        for sequence, source in zip(sequences, sources, strict=True):
            if isinstance(source, Exception):
                failed[sequence] = source
            else:
                self._waiting[sequence] = source
        return failed

    def step(self) -> list[Sequence]:
        """Scores sentences of the ranking with the least priority until a turn's tokens are used up.

        Returns the rankings that left the queue: finished ones, and cancelled ones without a finish_reason.
        """
        start = time.perf_counter()
        cancelled = [sequence for sequence in self._waiting if sequence.is_cancelled()]
        for sequence in cancelled:
            del self._waiting[sequence]
        finished, self._ranked = self._ranked + cancelled, []
        tokens: dict[Sequence, int] = {}
        ready = self._in_turn()
        remaining = self._scorer.max_ranked_tokens if ready else 0
        # One ranking as far as it goes, not a sentence of each: the next one's source has to be copied into the cache.
        for sequence in ready:
            if remaining <= 0:
                break
            if self._current is not sequence:
                self._scorer.begin(self._waiting[sequence], max(map(len, sequence.sentences)))
                self._current = sequence
            tokens[sequence] = 0
            while tokens[sequence] < remaining and len(sequence.scores) < len(sequence.sentences):
                tokens[sequence] += self._score_some(sequence)
            remaining -= tokens[sequence]
            if len(sequence.scores) == len(sequence.sentences):
                sequence.finish_reason, sequence.first_token_at = "end", time.monotonic()
                del self._waiting[sequence]
                finished.append(sequence)
        self.last_turn = RankingTurn(tokens, time.perf_counter() - start)
        return finished

    def clear(self) -> None:
        """Removes all rankings."""
        self._ranked.clear()
        self._waiting.clear()
        self._current = None

    def _in_turn(self) -> list[Sequence]:
        priorities = {sequence: sequence.priority() for sequence in self._waiting}
        ready = {sequence: value for sequence, value in priorities.items() if value is not None}
        return sorted(ready, key=ready.__getitem__)

    def _rank_by_encoder(self, sequences: list[Sequence]) -> dict[Sequence, Exception]:
        failed = {}
        results = self._score_tokens([sequence.input_ids for sequence in sequences])
        for sequence, result in zip(sequences, results, strict=True):
            if isinstance(result, Exception):
                failed[sequence] = result
                continue
            sequence.scores = [float(result[first:end].mean()) for first, end in sequence.sentence_spans]
            sequence.finish_reason, sequence.first_token_at = "end", time.monotonic()
            self._ranked.append(sequence)
        return failed

    def _score_some(self, sequence: Sequence) -> int:
        """Scores the next sentences of `sequence` in one call; returns how many tokens they have."""
        first = len(sequence.scores)
        sentences = sequence.sentences[first : first + self._scorer.batch_size]
        totals = self._scorer.log_probabilities(sentences, sequence.params.decoder_start_token_id)
        penalty = sequence.params.length_penalty
        sequence.scores += [total / len(tokens) ** penalty for total, tokens in zip(totals, sentences, strict=True)]
        return sum(map(len, sentences))
