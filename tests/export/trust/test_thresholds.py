"""Learn-then-Test: p-values against an exact sum, and the promise on simulated summaries whose risk is known."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest

from export.trust.thresholds import STARTS, binomial_tail, certified_threshold, grid

CONFIDENCE = 0.9
THRESHOLDS = [*(np.arange(1, 10) / 10), 1.0]


@pytest.mark.parametrize(
    ("successes", "trials", "probability"), [(0, 0, 0.1), (0, 44, 0.05), (3, 20, 0.2), (50, 50, 0.3)]
)
def test_binomial_tail_is_the_exact_sum(successes, trials, probability):
    p = Fraction(probability)
    exact = sum(comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(successes + 1))
    assert binomial_tail(successes, trials, probability) == pytest.approx(float(exact), abs=1e-12)


def test_clean_pairs_are_released_and_wrong_ones_are_not():
    risks = np.repeat([0.2, 0.8], 100)
    wrong = risks > 0.5
    assert certified_threshold(THRESHOLDS, risks, wrong, 0.05, CONFIDENCE) == pytest.approx(0.7)
    assert certified_threshold(THRESHOLDS, risks, wrong, 0.6, CONFIDENCE) == 1.0
    assert certified_threshold(THRESHOLDS, risks, ~wrong, 0.05, CONFIDENCE) is None
    assert certified_threshold(THRESHOLDS, risks[:0], wrong[:0], 0.05, CONFIDENCE) is None


def true_share(threshold: float) -> float:
    """Of summaries with a risk uniform on [0, 1], each wrong with probability risk / 4: the share wrong if released."""
    return threshold / 8


@pytest.mark.parametrize("alpha", [0.03, 0.06, 0.1])
def test_the_true_share_is_above_alpha_no_oftener_than_promised(alpha):
    """Choosing the largest threshold whose share was at most alpha on the pairs breaks the promise."""
    random = np.random.default_rng(7)
    broken, naive, released = 0, 0, 0
    for _ in range(400):
        risks = random.random(200)
        wrong = random.random(200) < risks / 4
        certified = certified_threshold(THRESHOLDS, risks, wrong, alpha, CONFIDENCE)
        broken += certified is not None and true_share(certified) > alpha + 1e-12
        released += certified is not None
        fitting = [t for t in THRESHOLDS if (risks <= t).any() and wrong[risks <= t].mean() <= alpha]
        naive += bool(fitting) and true_share(max(fitting)) > alpha + 1e-12
    assert broken <= 400 * (1 - CONFIDENCE)
    assert naive > 400 * (1 - CONFIDENCE), "the simulation could not tell"
    assert alpha < 0.1 or released > 100


def test_the_grid_releases_growing_shares_of_the_fitting_pairs_and_all_at_last():
    fitted = np.random.default_rng(1).random(500)
    thresholds = grid(fitted)
    assert [round(float((fitted <= t).mean()), 2) for t in thresholds] == [round(n / 10, 2) for n in range(1, 11)]
    assert max(STARTS) < len(thresholds)
