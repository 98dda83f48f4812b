"""Scores given sentences by the decoder's probability of their tokens after a source (teacher forcing)."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from precis.runtime.encoder_pool import Encoded
from precis.runtime.kv_cache import Prefill
from precis.runtime.model import Seq2SeqModel
from precis.runtime.model_runner_cpu import CpuModelRunner
from precis.runtime.model_runner_cuda import CudaModelRunner

MAX_LOGITS = 1 << 21  # of one decoder pass; 8 MiB
TOKENS_PER_PASS = 64  # of a sentence; most have fewer
STATIC_ROWS = 8  # sentences that a static graph scores side by side
MAX_RANKED_TOKENS = 128  # a thread, between two decode steps: a token takes about as long as four of a prefill


@dataclass(frozen=True)
class Source:
    """A text to score sentences against: its tokens, and on CPUs its encoded keys and values."""

    input_ids: list[int]
    encoded: Encoded | None = None


class SentenceScorer(Protocol):
    """Scores sentences for one source at a time, in a KV cache of its own. Not thread-safe.

    A sentence's score does not depend on what else is scored or generated at the same time.
    """

    @property
    def batch_size(self) -> int:
        """How many sentences one call takes at most, which is the most efficient number."""

    @property
    def max_ranked_tokens(self) -> int:
        """How many tokens should be scored between two decode steps at most: more would delay the running sequences."""

    def encode(self, texts: list[list[int]]) -> list[Source | Exception]:
        """The source of each text's tokens, or the exception that its encoding raised."""

    def begin(self, source: Source, max_tokens: int) -> None:
        """The sentences that follow are scored for `source`; they have at most `max_tokens` tokens."""

    def log_probabilities(self, sentences: list[list[int]], start_token: int) -> list[float]:
        """The natural logarithm of each sentence's probability: that of its tokens, one after the other.

        A sentence has at most MAX_NEW_TOKENS tokens, the end token included.
        """


def new_sentence_scorer(model: Seq2SeqModel, max_source_tokens: int) -> SentenceScorer:
    """The scorer for the model's graphs and sources of at most `max_source_tokens` tokens."""
    scorer = StaticSentenceScorer if model.static else CpuSentenceScorer
    return scorer(model, max_source_tokens)


class CpuSentenceScorer:
    """Feeds one sentence after another to the decoder, all tokens in one pass unless they are very many.

    Dynamic graphs take several tokens at a time for a single row only. That is twice as fast as one row a sentence and
    one token a pass, and needs no copies of the source (docs/choices.md#engine-our-own-and-small). Implements
    `SentenceScorer`.
    """

    batch_size = 1

    def __init__(self, model: Seq2SeqModel, max_source_tokens: int) -> None:
        self.max_ranked_tokens = MAX_RANKED_TOKENS * model.threads
        tokens = min(TOKENS_PER_PASS, max(1, MAX_LOGITS // model.vocab_size))
        self._runner = CpuModelRunner(model, 1, max_source_tokens, tokens)
        self._row = self._runner.kv_cache.allocate(1)

    def encode(self, texts: list[list[int]]) -> list[Source | Exception]:
        """See `SentenceScorer.encode`."""
        results = zip(texts, self._runner.encode(texts), strict=True)
        return [result if isinstance(result, Exception) else Source(ids, result) for ids, result in results]

    def begin(self, source: Source, max_tokens: int) -> None:
        """See `SentenceScorer.begin`."""
        assert source.encoded is not None
        self._runner.kv_cache.store_source(self._row, source.encoded)

    def log_probabilities(self, sentences: list[list[int]], start_token: int) -> list[float]:
        """See `SentenceScorer.log_probabilities`."""
        return [self._log_probability(sentence, start_token) for sentence in sentences]

    def _log_probability(self, sentence: list[int], start_token: int) -> float:
        past_length, step = self._runner.kv_cache.past_length, self._runner.max_tokens_per_step
        inputs, total = [start_token, *sentence[:-1]], 0.0
        past_length[self._row] = 0
        for first in range(0, len(sentence), step):
            logits = self._runner.decode(np.array([inputs[first : first + step]]))[0]
            total += float(_log_probabilities(logits, np.array(sentence[first : first + step])).sum())
            past_length[self._row] += len(logits)
        return total


class StaticSentenceScorer:
    """Scores up to STATIC_ROWS sentences side by side, one token of each at a time. Implements `SentenceScorer`."""

    batch_size = STATIC_ROWS
    max_ranked_tokens = 1  # one call, which takes as many steps as its longest sentence has tokens

    def __init__(self, model: Seq2SeqModel, max_source_tokens: int) -> None:
        self._runner = CudaModelRunner(model, STATIC_ROWS, max_source_tokens, cuda_graphs=True)
        self._rows = self._runner.kv_cache.allocate(STATIC_ROWS)

    def encode(self, texts: list[list[int]]) -> list[Source | Exception]:
        """See `SentenceScorer.encode`. The encoder writes into the cache, so it runs only in `begin`."""
        return [Source(input_ids) for input_ids in texts]

    def begin(self, source: Source, max_tokens: int) -> None:
        """See `SentenceScorer.begin`. Raises what the encoder raises."""
        errors = self._runner.prefill([Prefill(self._rows, source.input_ids, max_tokens)])
        if errors[0] is not None:
            raise errors[0]

    def log_probabilities(self, sentences: list[list[int]], start_token: int) -> list[float]:
        """See `SentenceScorer.log_probabilities`."""
        steps = max(map(len, sentences))
        targets = np.zeros((STATIC_ROWS, steps), dtype=np.int64)
        for row, sentence in enumerate(sentences):
            targets[row, : len(sentence)] = sentence
        inputs = np.concatenate([np.full((STATIC_ROWS, 1), start_token), targets[:, :-1]], axis=1)
        scores = np.zeros((STATIC_ROWS, steps))
        self._runner.kv_cache.past_length[:] = 0
        for step in range(steps):
            logits = self._runner.decode(inputs[:, step : step + 1])[:, 0]
            scores[:, step] = _log_probabilities(logits, targets[:, step])
            self._runner.kv_cache.past_length += 1
        return [float(scores[row, : len(sentence)].sum()) for row, sentence in enumerate(sentences)]


def _log_probabilities(logits: npt.NDArray[np.float32], tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The log-probability of each of `tokens` (n,) under its `logits` (n, vocabulary)."""
    largest = logits.max(axis=1, keepdims=True)
    token_logits = np.take_along_axis(logits, tokens[:, None], axis=1) - largest
    return (token_logits[:, 0] - np.log(np.exp(logits - largest).sum(axis=1))).astype(np.float64)
