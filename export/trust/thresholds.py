"""Thresholds of a risk below which at most a stated share of summaries is wrong: Learn-then-Test.

Angelopoulos et al. 2021, "Learn then Test: Calibrating Predictive Algorithms to Achieve Risk Control". The share of
wrong ones among those released is a selective risk: it need not grow with the threshold, so conformal risk control,
which needs a monotone loss, does not apply. Each threshold of a fixed grid is a hypothesis "more than alpha are wrong".
Given how many calibration summaries it releases, the number of wrong ones among them is binomial, which gives an exact
p-value. Fixed-sequence testing from several starts, each with an equal part of the error, keeps the probability that
any rejected hypothesis is true at most 1 - confidence.
"""

import math

import numpy as np
import numpy.typing as npt

SHARES = tuple(np.arange(1, 11) / 10)  # of the fitting pairs that the grid's thresholds release
STARTS = (0, 3, 6)  # places in the grid: with few pairs only a threshold that releases many can be proved

Floats = npt.NDArray[np.float64]


def grid(fitted: Floats) -> list[float]:
    """The thresholds to test, ascending, from the risks of the fitting pairs, (pairs,); the last releases all."""
    return [float(np.quantile(fitted, share)) for share in SHARES[:-1]] + [1.0]


def certified_threshold(
    thresholds: list[float], risks: Floats, wrong: npt.NDArray[np.bool_], alpha: float, confidence: float
) -> float | None:
    """The largest of `thresholds` that is proved to release at most the share `alpha` of wrong summaries, or None.

    `risks` and `wrong` are those of the calibration pairs, (pairs,), on which nothing else was fitted.
    """
    certified: float | None = None
    for start in STARTS:
        for threshold in thresholds[start:]:
            released = risks <= threshold
            p = binomial_tail(int(wrong[released].sum()), int(released.sum()), alpha)
            if p > (1 - confidence) / len(STARTS):
                break
            certified = threshold if certified is None else max(certified, threshold)
    return certified


def binomial_tail(successes: int, trials: int, probability: float) -> float:
    """P(X <= successes) for X binomial with `trials` and 0 < `probability` < 1."""
    return math.fsum(
        math.exp(
            math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
            + k * math.log(probability) + (trials - k) * math.log1p(-probability)
        )
        for k in range(successes + 1)
    )  # fmt: skip
