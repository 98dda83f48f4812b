"""Calibration of the decoder's attention: rescales its weights so that all keys and values fit int8 with scale 1."""

from collections.abc import Iterable

import torch
from torch import nn
from transformers import T5ForConditionalGeneration

INT8_MAX = 127
DECODED_TOKENS = 64  # of each text


@torch.inference_mode()
def calibrate_kv(model: T5ForConditionalGeneration, inputs: Iterable[list[int]]) -> None:
    """Rescales, in place, the keys and values of the decoder's self-attention and cross-attention to the range of int8.

    Every channel has a scale of its own: its largest absolute value over the calibration `inputs` (token ids), divided
    by 127. The decoder reads the beginning of each text, as if it copied it. Rows of k and v are divided by the scale,
    rows of q and columns of o multiplied, which leaves the model's function unchanged.
    """
    ranges: dict[nn.Linear, torch.Tensor] = {}

    def record(layer: nn.Linear, _: tuple, output: torch.Tensor) -> None:
        largest = output.abs().amax((0, 1))
        ranges[layer] = torch.maximum(ranges.get(layer, largest), largest)

    layers = [block.layer for block in model.decoder.block]
    attentions = [layer[0].SelfAttention for layer in layers] + [layer[1].EncDecAttention for layer in layers]
    hooks = [layer.register_forward_hook(record) for attention in attentions for layer in (attention.k, attention.v)]
    start = model.config.decoder_start_token_id
    for ids in inputs:
        model(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([[start, *ids[:DECODED_TOKENS]]]))
    for hook in hooks:
        hook.remove()
    for attention in attentions:
        key_scales, value_scales = (ranges[layer].clamp_min(1e-6) / INT8_MAX for layer in (attention.k, attention.v))
        attention.k.weight /= key_scales[:, None]
        attention.q.weight *= key_scales[:, None]
        attention.v.weight /= value_scales[:, None]
        attention.o.weight *= value_scales[None, :]
