"""The rankings of the running batch: given sentences of a text are scored.

Where the bundle has a sentence ranker the encoder scores them; elsewhere the decoder does, a few between two steps.
"""

import functools
import time
from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from precis.runtime.encoder_pool import EncoderPool
from precis.runtime.model import Seq2SeqModel
from precis.runtime.sentence_scorer import SentenceScorer, Source, new_sentence_scorer
from precis.scheduling.sequence import Sequence


class RankingTurn(NamedTuple):
    """How many tokens of sentences a turn scored, and in how many seconds."""

    tokens: int = 0
    seconds: float = 0.0


class RankingQueue:
    """Rankings that are encoded and wait for their turn; the first one is being scored. Not thread-safe.

    By the encoder, a sentence's score is the mean of its tokens' scores. By the decoder it is the one by which beam
    search ranks finished sequences: the sum of the log-probabilities of its tokens and the end token, divided by their
    number to the power of `length_penalty`.
    """

    def __init__(self, model: Seq2SeqModel, max_source_tokens: int) -> None:
        """For sources of at most `max_source_tokens` tokens."""
        self._model, self._max_source_tokens = model, max_source_tokens
        self._ranked: list[Sequence] = []  # by the encoder, and not yet returned by `step`
        self._waiting: deque[tuple[Sequence, Source]] = deque()
        self.last_turn = RankingTurn()
        self._current: Sequence | None = None  # the first one, once its source is in the scorer's cache

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
        return self._ranked + [sequence for sequence, _ in self._waiting]

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
                self._waiting.append((sequence, source))
        return failed

    def step(self) -> list[Sequence]:
        """Scores sentences, oldest ranking first, until a turn's tokens are used up.

        Returns the rankings that left the queue: finished ones, and cancelled ones without a finish_reason.
        """
        start = time.perf_counter()
        left = self._ranked + [sequence for sequence, _ in self._waiting if sequence.is_cancelled()]
        self._ranked = []
        self._waiting = deque(item for item in self._waiting if item[0] not in left)
        tokens = 0
        while self._waiting and tokens < self._scorer.max_ranked_tokens:
            sequence, source = self._waiting[0]
            if self._current is not sequence:
                self._scorer.begin(source, max(map(len, sequence.sentences)))
                self._current = sequence
            tokens += self._score_some(sequence)
            if len(sequence.scores) == len(sequence.sentences):
                sequence.finish_reason, sequence.first_token_at = "end", time.monotonic()
                self._waiting.popleft()
                left.append(sequence)
        self.last_turn = RankingTurn(tokens, time.perf_counter() - start)
        return left

    def clear(self) -> None:
        """Removes all rankings."""
        self._ranked.clear()
        self._waiting.clear()
        self._current = None

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
