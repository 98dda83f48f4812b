"""How far apart the logits of two systems are when both decoders are fed the same tokens."""

from dataclasses import dataclass, field

import numpy as np

EXPONENTS = range(-30, 8)
EDGES = 2.0 ** np.arange(EXPONENTS.start, EXPONENTS.stop + 1)  # of the histogram's bins


@dataclass
class LogitDifference:
    """Absolute differences of all logits, summed up document by document."""

    largest: float = 0.0
    total: float = 0.0
    count: int = 0
    agreeing_tokens: int = 0  # positions at which both prefer the same token
    positions: int = 0
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(len(EXPONENTS), np.int64))  # (bins,)

    def add(self, left: np.ndarray, right: np.ndarray) -> None:
        """Adds the logits of one document, float32 (steps, vocabulary)."""
        # NaN compares false with everything; it must not pass for a small difference.
        difference = np.nan_to_num(np.abs(left - right), nan=np.inf)
        self.largest = max(self.largest, float(difference.max()))
        self.total, self.count = self.total + float(difference.sum()), self.count + difference.size
        self.agreeing_tokens += int((left.argmax(-1) == right.argmax(-1)).sum())
        self.positions += len(left)
        # The bins are powers of two, so a value's exponent is its bin; np.histogram takes five times as long.
        exponents = (difference.reshape(-1).view(np.int32) >> 23) - 127
        exponents = exponents.clip(EXPONENTS.start, EXPONENTS.stop - 1) - EXPONENTS.start
        self.histogram += np.bincount(exponents, minlength=len(EXPONENTS))

    @property
    def token_agreement(self) -> float:
        """The share of positions at which both systems prefer the same token."""
        return self.agreeing_tokens / self.positions

    @property
    def max_abs(self) -> float | None:
        """The largest difference; None if it is not finite, since JSON has no infinity."""
        return _finite(self.largest)

    @property
    def mean_abs(self) -> float | None:
        """The mean difference; None if it is not finite."""
        return _finite(self.total / self.count)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
