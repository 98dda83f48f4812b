"""Calibration of cross-attention: rescales its weights so that the encoder's keys and values fit int8 with scale 1."""

from collections.abc import Iterable

import torch
from torch import nn
from transformers import T5ForConditionalGeneration

INT8_MAX = 127


@torch.inference_mode()
def calibrate_cross_kv(model: T5ForConditionalGeneration, inputs: Iterable[list[int]]) -> None:
    """Rescales, in place, the keys and values of cross-attention to the range of int8.

    Every channel has a scale of its own: its largest absolute value over the calibration `inputs` (token ids), divided
    by 127. Rows of k and v are divided by it, rows of q and columns of o multiplied, which leaves the model's function
    unchanged.
    """
    ranges: dict[nn.Linear, torch.Tensor] = {}

    def record(layer: nn.Linear, _: tuple, output: torch.Tensor) -> None:
        largest = output.abs().amax((0, 1))
        ranges[layer] = torch.maximum(ranges.get(layer, largest), largest)

    crosses = [block.layer[1].EncDecAttention for block in model.decoder.block]
    hooks = [layer.register_forward_hook(record) for cross in crosses for layer in (cross.k, cross.v)]
    start = torch.tensor([[model.config.decoder_start_token_id]])
    for ids in inputs:
        model(input_ids=torch.tensor([ids]), decoder_input_ids=start)
    for hook in hooks:
        hook.remove()
    for cross in crosses:
        key_scales, value_scales = (ranges[layer].clamp_min(1e-6) / INT8_MAX for layer in (cross.k, cross.v))
        cross.k.weight /= key_scales[:, None]
        cross.q.weight *= key_scales[:, None]
        cross.v.weight /= value_scales[:, None]
        cross.o.weight *= value_scales[None, :]
