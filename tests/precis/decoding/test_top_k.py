"""The largest scores against a whole sort, and the order of equal ones against `torch.topk`."""

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from precis.decoding.step_logits import StepLogits
from precis.decoding.top_k import best_candidates, top_k
from precis.params import MAX_BEAMS


@pytest.mark.parametrize(("size", "beams", "count"), [(5, 1, 4), (129, 2, 3), (1000, 3, 8), (32100, 2, 9)])
def test_best_candidates_are_sorted_and_the_lower_index_is_first_among_equals(size, beams, count):
    random = np.random.default_rng(size)
    offsets = random.integers(-2, 2, beams).astype(np.float32)
    for digits in (None, 1, 0):  # more and more equal values
        scores = random.standard_normal((beams, size)).astype(np.float32)
        scores = scores if digits is None else scores.round(digits)
        scores[:, random.integers(0, size, size // 3)] = -np.inf
        sums = (scores + offsets[:, None]).reshape(-1)
        expected = np.lexsort((np.arange(sums.size), -sums))[:count]
        rows, tokens, values = best_candidates(StepLogits.from_logits(scores), offsets, count)
        assert (rows * size + tokens).tolist() == expected.tolist()
        assert values.tolist() == sums[expected].tolist()


@hypothesis.given(st.data())
def test_equal_scores_are_in_the_order_of_torch(data):
    count = data.draw(st.integers(1, MAX_BEAMS))
    value = st.sampled_from([-1e9, -1e9 - 64, -2e9, -3.5, -4.0, -np.inf])
    values = np.array(data.draw(st.lists(value, min_size=count, max_size=3 * count + 1)), dtype=np.float32)
    expected = torch.topk(torch.from_numpy(values)[None], count).indices[0]
    assert top_k(values, count).tolist() == expected.tolist()
