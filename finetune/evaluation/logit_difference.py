"""How far apart the logits of two models are when both decoders are fed the same tokens, and what rounding explains.

Rounding in fp32 is proportional to the numbers that are added up, so its limit is a share of the largest logit: the
recipe's `export.tolerance`. The merge of an adapter and the export in fp32 are judged by this one rule.
"""

from dataclasses import dataclass, field

import numpy as np

EXPONENTS = range(-30, 8)
EDGES = 2.0 ** np.arange(EXPONENTS.start, EXPONENTS.stop + 1)  # of the histogram's bins


@dataclass
class LogitDifference:
    """Differences of all logits and of the distributions they stand for, summed up document by document."""

    largest: float = 0.0
    largest_logit: float = 0.0  # of the left model
    total: float = 0.0
    count: int = 0
    agreeing_tokens: int = 0  # positions at which both prefer the same token
    total_divergence: float = 0.0
    positions: int = 0
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(len(EXPONENTS), np.int64))  # (bins,)

    def add(self, left: np.ndarray, right: np.ndarray) -> None:
        """Adds the logits of one document, float32 (steps, vocabulary)."""
        with np.errstate(invalid="ignore"):  # infinity minus infinity
            # NaN compares false with everything; it must not pass for a small difference.
            difference = np.nan_to_num(np.abs(left - right), nan=np.inf, posinf=np.inf)
        self.largest = max(self.largest, float(difference.max()))
        self.largest_logit = max(self.largest_logit, float(np.abs(left).max()))
        self.total, self.count = self.total + float(difference.sum()), self.count + difference.size
        self.agreeing_tokens += int((left.argmax(-1) == right.argmax(-1)).sum())
        self.total_divergence += float(divergence(left, right).sum()) if np.isfinite(self.largest) else np.inf
        self.positions += len(left)
        # The bins are powers of two, so a value's exponent is its bin; np.histogram takes five times as long.
        exponents = (difference.reshape(-1).view(np.int32) >> 23) - 127
        exponents = exponents.clip(EXPONENTS.start, EXPONENTS.stop - 1) - EXPONENTS.start
        self.histogram += np.bincount(exponents, minlength=len(EXPONENTS))

    def allowed(self, tolerance: float) -> float:
        """The largest difference that rounding explains: the share `tolerance` of the left model's largest logit."""
        return tolerance * self.largest_logit

    def is_rounding(self, tolerance: float) -> bool:
        """Whether all differences are finite and at most `allowed(tolerance)`."""
        return bool(np.isfinite(self.largest)) and self.largest <= self.allowed(tolerance)

    @property
    def token_agreement(self) -> float:
        """The share of positions at which both models prefer the same token."""
        return self.agreeing_tokens / self.positions

    @property
    def max_abs(self) -> float | None:
        """The largest difference; None if it is not finite, since JSON has no infinity."""
        return _finite(self.largest)

    @property
    def mean_abs(self) -> float | None:
        """The mean difference; None if it is not finite."""
        return _finite(self.total / self.count)

    @property
    def mean_divergence(self) -> float | None:
        """The mean `divergence` over all positions, in nats a token; None if some logits are not finite."""
        return _finite(self.total_divergence / self.positions)

    @property
    def max_logit(self) -> float | None:
        """The left model's largest logit, as an absolute value; None if it is not finite."""
        return _finite(self.largest_logit)


def divergence(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The Kullback-Leibler divergence (1951) of `right`'s next-token distribution from `left`'s, in nats.

    Both are logits (steps, vocabulary); the result has shape (steps,).
    """
    expected = _log_softmax(left)
    values = (np.exp(expected) * (expected - _log_softmax(right))).sum(-1)
    return np.maximum(values, 0)  # rounding can make it negative


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
