"""The first of the largest logits and what remains after tokens are suppressed, for vocabularies of any size."""

import numpy as np
import pytest
import torch

from precis.decoding.step_logits import MAX_BLOCK_SIZE, StepLogits, block_size


@pytest.mark.parametrize(("vocab_size", "size"), [(32128, 128), (16064, 64), (96, 96), (251, 1), (32100, 107)])
def test_blocks_divide_every_vocabulary(vocab_size, size):
    assert block_size(vocab_size) == size <= MAX_BLOCK_SIZE


@pytest.mark.parametrize("vocab_size", [96, 251, 1000])
def test_suppressed_tokens_are_never_the_largest_and_the_first_of_equal_ones_is(vocab_size):
    random = np.random.default_rng(vocab_size)
    for _ in range(50):
        logits = random.normal(size=(3, vocab_size)).round(1).astype(np.float32)
        expected = torch.tensor(logits)
        step = StepLogits.from_logits(logits)
        np.testing.assert_allclose(step.log_sums, expected.logsumexp(-1), rtol=1e-5)
        for row in range(3):
            of_row = StepLogits(step.all_logits, np.array([row]), step.maxima[[row]], step.log_sums[[row]])
            largest = int(expected[row].argmax())
            assert of_row.argmax() == largest
            suppressed = (largest, int(random.integers(vocab_size)))
            expected[row, list(suppressed)] = -torch.inf
            assert of_row.log_sum_without(suppressed) == pytest.approx(float(expected[row].logsumexp(-1)), abs=1e-4)
            of_row.suppress(suppressed)
            assert of_row.argmax() == int(expected[row].argmax())
            assert of_row.maxima.max() == expected[row].max()
        np.testing.assert_equal(step.all_logits, expected.numpy())
