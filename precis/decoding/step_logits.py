"""The logits of a decode step, and what searches need to know of all of them at once."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from precis.decoding.log_sum_exp import log_sum_exp

MAX_BLOCK_SIZE = 128

Scores = npt.NDArray[np.float32]
Indices = npt.NDArray[np.integer]


def block_size(vocab_size: int) -> int:
    """The number of tokens in a block: the largest that divides the vocabulary, MAX_BLOCK_SIZE at most."""
    return next(size for size in range(MAX_BLOCK_SIZE, 0, -1) if vocab_size % size == 0)


def block_maxima(logits: Scores) -> Scores:
    """The largest of each block of `logits` (rows, vocabulary): (rows, blocks)."""
    rows, vocab_size = logits.shape
    return logits.reshape(rows, -1, block_size(vocab_size)).max(axis=-1)


@dataclass
class StepLogits:
    """The logits of the rows of one text after a decode step.

    `all_logits` (step's rows, vocabulary) are those of all texts, of which `rows` (n,) are this one's: they are not
    copied. `maxima` (n, blocks) are the largest of each block, and `log_sums` (n,) the logarithms of the sums of
    exponentials, which make logits log-probabilities. On CPUs the decoder graph computes both.
    """

    all_logits: Scores
    rows: Indices
    maxima: Scores
    log_sums: Scores

    @classmethod
    def from_logits(cls, logits: Scores) -> "StepLogits":
        """Those of the rows `logits` (n, vocabulary), computed here."""
        log_sums = np.array([log_sum_exp(row) for row in logits], dtype=np.float32)
        return cls(logits, np.arange(len(logits)), block_maxima(logits), log_sums)

    def replace(self, logits: Scores) -> "StepLogits":
        """Those of the same rows with other `logits` (n, vocabulary), whose `log_sums` are not computed."""
        return StepLogits(logits, np.arange(len(logits)), block_maxima(logits), self.log_sums)

    @property
    def logits(self) -> Scores:
        """A copy of the logits, (n, vocabulary)."""
        return self.all_logits[self.rows]

    def suppress(self, tokens: tuple[int, ...]) -> None:
        """Sets the logits of `tokens` to minus infinity. `log_sums` stay: those tokens keep their probability."""
        vocab_size = self.all_logits.shape[1]
        size = vocab_size // self.maxima.shape[1]
        for token in tokens:
            self.all_logits[self.rows, token] = -np.inf
            first = token // size * size
            self.maxima[:, token // size] = self.all_logits[self.rows, first : first + size].max(axis=1)

    def log_sum_without(self, tokens: tuple[int, ...]) -> float:
        """The log-sum of the first row without the logits of `tokens`, which are suppressed afterwards."""
        log_sum, row = float(self.log_sums[0]), self.all_logits[self.rows[0]]
        probability = sum(math.exp(row[token] - log_sum) for token in {*tokens})
        if probability < 0.5:
            return log_sum + math.log1p(-probability)
        remaining = row.copy()  # a difference of nearly equal numbers would not be precise
        remaining[[*tokens]] = -np.inf
        return log_sum_exp(remaining)

    def argmax(self) -> int:
        """The first token with the largest logit in the first row."""
        size = self.all_logits.shape[1] // self.maxima.shape[1]
        first = int(self.maxima[0].argmax()) * size
        return first + int(self.all_logits[self.rows[0], first : first + size].argmax())
