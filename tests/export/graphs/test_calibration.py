"""Calibrated weights: the same function, and keys and values in the range of int8."""

import torch
from transformers import AutoModelForSeq2SeqLM

from export.graphs.calibration import calibrate_kv
from tests.export.support import INPUTS
from tests.support.models import tiny_t5


def test_keys_and_values_of_the_decoder_fill_int8_and_the_logits_stay(tmp_path):
    model = AutoModelForSeq2SeqLM.from_pretrained(tiny_t5(tmp_path, "v1.0")).eval()
    start = model.config.decoder_start_token_id
    batches = [(torch.tensor([ids]), torch.tensor([[start, *ids]])) for ids in INPUTS]
    with torch.no_grad():
        expected = [model(input_ids=ids, decoder_input_ids=decoded).logits for ids, decoded in batches]
        calibrate_kv(model, INPUTS)
        layers = [block.layer for block in model.decoder.block]
        attentions = [layer[0].SelfAttention for layer in layers] + [layer[1].EncDecAttention for layer in layers]
        largest = dict.fromkeys([part for attention in attentions for part in (attention.k, attention.v)], 0.0)

        def record(part, _, output):
            largest[part] = max(largest[part], float(output.abs().max()))

        for part in largest:
            part.register_forward_hook(record)
        for (ids, decoded), logits in zip(batches, expected, strict=True):
            actual = model(input_ids=ids, decoder_input_ids=decoded).logits
            torch.testing.assert_close(actual, logits, rtol=1e-4, atol=1e-4)
    assert all(abs(value - 127) < 0.01 for value in largest.values())
