"""Graphs of all shapes of T5, in all precisions, against PyTorch."""

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForSeq2SeqLM

from export.graphs.trace import trace
from tests.export.support import INPUTS, engine_logits, torch_logits, write_fp16
from tests.support.models import exported, tiny_t5


def odd_t5(folder, **settings):
    """The tiny T5 of v1.0 with other sizes, its vocabulary not a multiple of anything."""
    base = tiny_t5(folder / "like", "v1.0")
    like = AutoModelForSeq2SeqLM.from_pretrained(base).config
    torch.manual_seed(3)
    model = AutoModelForSeq2SeqLM.from_config(type(like)(**like.to_dict() | settings))
    if not settings.get("tie_word_embeddings", True):
        # transformers 5 has untied weights only where a file has both.
        model.lm_head.weight = nn.Parameter(torch.randn_like(model.lm_head.weight))
    model.save_pretrained(base)
    return base


@pytest.fixture(scope="module", params=["v1.0", "v1.1", "mt5", "untied v1.0", "tied v1.1", "narrow"])
def shape(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shape")
    if request.param == "untied v1.0":
        return odd_t5(folder, tie_word_embeddings=False, scale_decoder_outputs=False, vocab_size=8191)
    if request.param == "tied v1.1":
        return odd_t5(folder, feed_forward_proj="gated-gelu", d_kv=16, num_layers=1, vocab_size=8203)
    if request.param == "narrow":
        return odd_t5(folder, d_model=24, d_ff=40, vocab_size=8101)
    return tiny_t5(folder / "tiny", request.param)


def test_logits_of_every_t5_shape_equal_pytorch_in_fp32_and_nearly_in_int8_and_fp16(shape, tmp_path):
    expected = torch_logits(shape)
    folders = {}
    for name, calibration in (("fp32", None), ("int8", INPUTS)):
        (tmp_path / name).mkdir()
        folders[name] = exported(shape, tmp_path / name, calibration)
    folders["fp16"] = write_fp16(trace(shape, static=True), [], shape, tmp_path / "fp16")
    for name, allowed in (("fp32", 1e-4), ("int8", 0.1), ("fp16", 0.01)):
        # Relative, since the heads of untied random models give small logits.
        difference = np.abs(engine_logits(folders[name]) - expected).max() / np.abs(expected).max()
        assert difference < allowed, name
