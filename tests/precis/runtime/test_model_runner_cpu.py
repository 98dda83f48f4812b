"""What the decoder graph computes from its logits, for searches, against PyTorch."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM

from precis.bundle.verify import open_bundle
from precis.decoding.step_logits import block_size
from precis.runtime.kv_cache import Prefill
from precis.runtime.model import Seq2SeqModel
from precis.runtime.model_runner_cpu import CpuModelRunner
from tests.support.models import exported, tiny_t5

TEXTS = [[5 + i, *range(9, 12 + 9 * i), 1] for i in range(5)]


@pytest.fixture(scope="module", params=[8101, 8128], ids=["prime vocabulary", "blocks of 127"])
def model(request, tmp_path_factory) -> Seq2SeqModel:
    """An int8 bundle's sessions."""
    folder = tmp_path_factory.mktemp("runner")
    source = tiny_t5(folder / "model", "v1.0")
    config = AutoModelForSeq2SeqLM.from_pretrained(source).config
    config.vocab_size = request.param
    torch.manual_seed(3)
    AutoModelForSeq2SeqLM.from_config(config).save_pretrained(source)
    return Seq2SeqModel(open_bundle(exported(source, folder, calibration=TEXTS)), "cpu", 2)


def new_runner(model: Seq2SeqModel, texts: list[list[int]]) -> CpuModelRunner:
    """A runner with a row for each of `texts`."""
    runner = CpuModelRunner(model, 8, 64)
    rows = runner.kv_cache.allocate(len(texts))
    prefills = [Prefill(rows[i : i + 1], text, 8) for i, text in enumerate(texts)]
    assert runner.prefill(prefills) == [None] * len(texts)
    return runner


def assert_describes(step, logits: np.ndarray) -> None:
    size = block_size(logits.shape[-1])
    np.testing.assert_array_equal(step.logits, logits)
    np.testing.assert_array_equal(step.maxima, logits.reshape(len(logits), -1, size).max(-1))
    np.testing.assert_allclose(step.log_sums, torch.tensor(logits).double().logsumexp(-1), rtol=1e-6)


def test_maxima_and_log_sums_are_those_of_the_rows_whatever_else_is_in_the_batch(model):
    runner, alone = new_runner(model, TEXTS), [new_runner(model, [text]) for text in TEXTS]
    for step in range(3):
        tokens = np.arange(5)[:, None] * 100 + step
        logits = runner.decode(tokens)[:, 0].copy()
        assert_describes(runner.step_logits(np.array([3, 0, 4])), logits[[3, 0, 4]])
        for row, single in enumerate(alone):
            single.decode(tokens[row : row + 1])
            same, other = single.step_logits(np.array([0])), runner.step_logits(np.array([row]))
            np.testing.assert_array_equal(same.log_sums, other.log_sums)
            np.testing.assert_array_equal(same.maxima, other.maxima)
            single.kv_cache.past_length[0] += 1
        runner.kv_cache.past_length[:5] += 1


def test_several_steps_of_one_row_have_maxima_and_log_sums_of_their_own(model):
    runner = new_runner(model, TEXTS[:1])
    logits = runner.decode(np.array([[4, 300, 70]]))[0].copy()
    for position in range(3):
        assert_describes(runner.step_logits(np.array([0]), position), logits[[position]])
