"""The log-probabilities of greedy search."""

import numpy as np
import pytest
import torch

from precis import GenerationParams
from precis.decoding.greedy import GreedySearch
from precis.params import resolve

CONFIG = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}


@pytest.mark.parametrize("shift", [0.0, 59.0, -59.0, 500.0, -500.0, -1e30])
def test_log_probability_of_logits_of_any_size(shift):
    logits = np.array([[1.0, 3.0, -2.0, 0.5]], dtype=np.float32)
    search = GreedySearch(resolve(GenerationParams(), CONFIG))
    expected = float(torch.tensor(logits + np.float32(shift)).double().log_softmax(-1)[0].max())
    search.advance(logits + np.float32(shift))
    assert search.score == pytest.approx(expected, abs=1e-4)
