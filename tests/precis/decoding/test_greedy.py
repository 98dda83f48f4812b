"""The log-probabilities of greedy search, and the token that it may not choose."""

import numpy as np
import pytest
import torch

from precis import GenerationParams
from precis.decoding.greedy import GreedySearch
from precis.decoding.step_logits import StepLogits
from precis.params import resolve

CONFIG = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}


@pytest.mark.parametrize(
    ("params", "config", "expected"),
    [
        ({}, {}, [-1, -1, -1]),
        ({"min_new_tokens": 2}, {}, [1, 1, -1]),
        ({"min_new_tokens": 2}, {"eos_token_id": [1, 2]}, [None, None, -1]),
        ({"no_repeat_ngram_size": 2}, {}, [None, None, None]),
        ({}, {"suppress_tokens": [5]}, [None, None, None]),
    ],
    ids=str,
)
def test_token_that_a_graph_may_not_choose(params, config, expected):
    search = GreedySearch(resolve(GenerationParams(**params), CONFIG | config))
    for token in expected:
        assert search.suppressed_token == token
        search.append(7, -1.0)


@pytest.mark.parametrize("shift", [0.0, 59.0, -59.0, 500.0, -500.0, -1e30])
def test_log_probability_of_logits_of_any_size(shift):
    logits = np.array([[1.0, 3.0, -2.0, 0.5]], dtype=np.float32)
    search = GreedySearch(resolve(GenerationParams(), CONFIG))
    expected = float(torch.tensor(logits + np.float32(shift)).double().log_softmax(-1)[0].max())
    search.advance(StepLogits.from_logits(logits + np.float32(shift)))
    assert search.score == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("end", [-5.0, 2.9, 3.1, 40.0])
def test_log_probability_is_among_the_tokens_that_are_not_suppressed(end):
    """However probable the end token was, which `min_new_tokens` suppresses."""
    logits = np.array([[1.0, end, -2.0, 0.5, 2.0]], dtype=np.float32)
    search = GreedySearch(resolve(GenerationParams(min_new_tokens=1), CONFIG))
    assert search.advance(StepLogits.from_logits(logits.copy())) == 4
    logits[:, 1] = -np.inf
    assert search.score == pytest.approx(float(torch.tensor(logits).log_softmax(-1).max()), abs=1e-6)
