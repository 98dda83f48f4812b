"""The logarithm of a sum of exponentials over the vocabulary, which makes logits log-probabilities."""

import functools
import math

import numpy as np
import numpy.typing as npt

SMALLEST_SUM = 1e-30  # of which rounding errors in float32 are small


def log_sum_exp(logits: npt.NDArray[np.float32]) -> float:
    """That of `logits` (vocabulary,).

    Logits are rarely so large or so small that their exponentials need a shift. Those are shifted in place by the
    largest, beside which the sum would vanish. A dot product is faster than a sum.
    """
    exponentials = np.empty_like(logits)
    with np.errstate(over="ignore"):
        total = float(np.exp(logits, out=exponentials).dot(_ones(len(logits))))
    if SMALLEST_SUM < total < math.inf:
        return math.log(total)
    logits -= logits.max()
    return math.log(np.exp(logits, out=exponentials).dot(_ones(len(logits))))


@functools.cache
def _ones(size: int) -> npt.NDArray[np.float32]:
    return np.ones(size, dtype=np.float32)
