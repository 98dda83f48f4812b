"""The runner of static graphs, on the CPU, against transformers; and what the graphs themselves must have."""

import numpy as np
import onnx
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from precis import Engine
from precis.bundle.names import DECODER
from precis.bundle.verify import open_bundle
from precis.runtime.kv_cache import Prefill
from precis.runtime.model import Seq2SeqModel
from precis.runtime.model_runner import new_model_runner
from tests.conftest import ROOT
from tests.support.engines import SETTINGS, assert_batch_equals_transformers, settings_id
from tests.support.models import exported, tiny_t5


@pytest.fixture(scope="module", params=["v1.1", "base"])
def pair(request, tmp_path_factory):
    """A model in PyTorch with its tokenizer, and the engine on its static graphs."""
    folder = tmp_path_factory.mktemp("static")
    source = ROOT / "models/base" if request.param == "base" else tiny_t5(folder / "model", request.param)
    with Engine.load(exported(source, folder, static=True), threads=1) as engine:
        yield AutoModelForSeq2SeqLM.from_pretrained(source).eval(), AutoTokenizer.from_pretrained(source), engine


@pytest.mark.parametrize("settings", [*SETTINGS, {"max_new_tokens": 18, "min_new_tokens": 15}], ids=settings_id)
def test_batch_equals_transformers_on_each_text_alone(pair, settings):
    assert_batch_equals_transformers(*pair, settings)


@pytest.mark.parametrize("vocab_size", [8101, 8190, 80000])
def test_graph_computes_the_first_of_the_largest_logits(tmp_path, vocab_size):
    """Whether or not the vocabulary can be divided into parts; pairs of equal tokens have equal logits."""
    source = tiny_t5(tmp_path / "model", "v1.0")
    config = AutoModelForSeq2SeqLM.from_pretrained(source).config
    config.vocab_size = vocab_size
    torch.manual_seed(3)
    model = AutoModelForSeq2SeqLM.from_config(config)
    with torch.no_grad():
        half = vocab_size // 2
        model.shared.weight[half : 2 * half] = model.shared.weight[:half].clone()
    model.save_pretrained(source)
    bundle = open_bundle(exported(source, tmp_path, static=True))
    runner = new_model_runner(Seq2SeqModel(bundle, "cpu", 1), 8, 20, cuda_graphs=False)
    rows = runner.kv_cache.allocate(5)
    assert runner.prefill([Prefill(rows[i : i + 1], [5 + i, 9, 1], 4) for i in range(5)]) == [None] * 5
    suppressed = np.full(5, -1)
    for _ in range(3):
        logits = runner.decode(np.arange(0, 500, 100)[:, None], suppressed)[:5, 0].copy()
        logits[suppressed >= 0, suppressed[suppressed >= 0]] = -np.inf
        tokens, log_probabilities = runner.argmax
        assert tokens == logits.argmax(-1).tolist()
        expected = torch.tensor(logits).log_softmax(-1).max(-1).values
        np.testing.assert_allclose(log_probabilities, expected, atol=1e-5)
        suppressed[1:3] = tokens[1:3]
        runner.kv_cache.past_length[rows] += 1


def test_no_operator_of_a_decode_step_computes_a_shape(static_bundle):
    """Such operators run on the CPU, and a step with them cannot be captured as a CUDA graph."""
    graph = onnx.load(static_bundle / DECODER, load_external_data=False).graph
    operators = {node.op_type for node in graph.node}
    shape_operators = {"Shape", "Size", "Range", "Slice", "Expand", "ConstantOfShape", "Concat", "NonZero"}
    assert not operators & (shape_operators | {"If", "Loop"})
    assert not any(node.domain for node in graph.node)
