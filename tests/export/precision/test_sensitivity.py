"""The ranking of nodes by their sensitivity to int8."""

import torch
from transformers import AutoModelForSeq2SeqLM

from export.graphs.trace import trace
from export.precision.sensitivity import rank_by_sensitivity
from tests.export.support import INPUTS, TOKENS
from tests.support.engines import seal
from tests.support.models import tiny_t5


def test_layer_with_an_outlier_weight_is_the_most_sensitive(tmp_path):
    """One weight far beyond the others of its column takes all the steps that 7 bits have."""
    folder = tiny_t5(tmp_path / "model", "v1.0")
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    with torch.no_grad():
        layer = model.encoder.block[1].layer[1].DenseReluDense.wo.weight
        layer.mul_(20)
        layer[:, 0] = layer.abs().max() * 300
        # The outlier's input is always 0, so that only the rounding of the other weights counts.
        model.encoder.block[1].layer[1].DenseReluDense.wi.weight[0] = 0
    model.save_pretrained(folder)
    ranked = rank_by_sensitivity(trace(folder, INPUTS), folder, seal, INPUTS, TOKENS)
    assert ranked[0][0] == "encoder.block.1.layer.1.DenseReluDense.wo"
    assert ranked[0][1] > 3 * ranked[1][1]
