"""Batches of similar length: their order depends on seed and epoch only."""

import itertools

import numpy as np
import pytest
import torch

from finetune.data.sampler import LengthGroupedSampler


def test_order_depends_on_seed_and_epoch_only():
    lengths = np.random.default_rng(0).integers(5, 500, size=200).tolist()
    first, again, other_seed = (LengthGroupedSampler(lengths, 8, seed) for seed in (1, 1, 2))
    orders = []
    for number in range(3):
        first.epoch_index = number
        orders.append(list(first))
    again.epoch_index = 2
    torch.rand(5)  # the global generator makes no difference
    assert list(again) == orders[2]
    assert sorted(orders[0]) == list(range(200))
    assert len({tuple(order) for order in (*orders, list(other_seed))}) == 4
    batches = [orders[0][i : i + 8] for i in range(0, 200, 8)]
    spread = np.mean([np.ptp([lengths[i] for i in batch]) for batch in batches])
    assert spread < 100, "batches are not of like length"


@pytest.mark.parametrize("count", [1, 7, 8, 9, 203])
def test_batches_are_not_sorted_by_length(count):
    lengths = np.random.default_rng(0).integers(5, 500, size=count).tolist()
    order = list(LengthGroupedSampler(lengths, 8, 0))
    assert sorted(order) == list(range(count))
    assert max(lengths) in [lengths[i] for i in order[:8]]  # what memory needs is known at the first step
    if count > 100:
        means = [np.mean([lengths[i] for i in order[at : at + 8]]) for at in range(8, 200, 8)]
        assert 7 <= sum(after > before for before, after in itertools.pairwise(means)) <= 17
