"""Differences of logits against values computed by hand and by torch."""

import numpy as np
import pytest
import torch

from finetune.evaluation.logit_difference import LogitDifference, divergence

LEFT = np.array([[1, 2, 3], [0, -8, 4]], np.float32)
RIGHT = np.array([[1, 2.5, 2], [0, -8, 4]], np.float32)


def test_figures_equal_those_computed_by_hand():
    difference = LogitDifference()
    difference.add(LEFT, RIGHT)
    difference.add(LEFT[:1], LEFT[:1])
    assert (difference.max_abs, difference.max_logit) == (1, 8)
    assert difference.mean_abs == pytest.approx(1.5 / 9)
    assert difference.token_agreement == pytest.approx(2 / 3)
    assert difference.allowed(1e-3) == pytest.approx(8e-3)
    assert difference.is_rounding(1 / 8)
    assert not difference.is_rounding(1 / 8.1)
    assert difference.histogram.sum() == 9


def test_divergence_equals_that_of_torch():
    first, second = (torch.tensor(logits).log_softmax(-1) for logits in (LEFT, RIGHT))
    expected = torch.nn.functional.kl_div(second, first, reduction="none", log_target=True).sum(-1)
    np.testing.assert_allclose(divergence(LEFT, RIGHT), expected.numpy(), rtol=1e-5, atol=1e-7)
    difference = LogitDifference()
    difference.add(LEFT, RIGHT)
    assert difference.mean_divergence == pytest.approx(float(expected.mean()), rel=1e-5)


@pytest.mark.parametrize(("first", "second"), [(np.nan, 1), (1, np.nan), (np.inf, 1), (1, -np.inf), (np.inf, np.inf)])
def test_logits_that_are_not_finite_are_never_rounding(first, second):
    difference = LogitDifference()
    difference.add(np.array([[first, 0]], np.float32), np.array([[second, 0]], np.float32))
    difference.add(LEFT, LEFT)
    assert not difference.is_rounding(1.0)
    assert difference.max_abs is None
    assert difference.mean_abs is None
    assert difference.mean_divergence is None
