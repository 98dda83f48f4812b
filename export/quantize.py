"""8-bit weights and sources: what makes a bundle small and fast on CPUs.

The encoder reads one text at a time, so the scales of its activations, which are found on the fly, belong to that text
alone. The decoder's matrices have 8-bit weights and their activations are scaled row by row. So a summary depends as
little on its company as in fp32.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer
from torch import nn
from transformers import T5ForConditionalGeneration

from engine.bundle import DECODER, ENCODER

LARGEST = 127  # of int8
BLOCK = 128  # weights of the decoder that share a scale
INT8_PRODUCTS = 4  # MatMulNBits' accuracy_level: activations are rounded to int8, too


@torch.inference_mode()
def scale_sources(model: T5ForConditionalGeneration, inputs: Iterable[list[int]]) -> None:
    """Rescales, in place, the keys and values of cross-attention so that whole numbers up to LARGEST hold them.

    Every channel gets a factor of its own, by its largest value over `inputs` (token ids): rows of k and v are divided
    by it, rows of q and columns of o multiplied, which leaves the model's function as it is.
    """
    largest: dict[nn.Linear, torch.Tensor] = {}

    def note(layer: nn.Linear, _: tuple, output: torch.Tensor) -> None:
        found = output.abs().amax((0, 1))
        largest[layer] = torch.maximum(largest.get(layer, found), found)

    crosses = [block.layer[1].EncDecAttention for block in model.decoder.block]
    hooks = [layer.register_forward_hook(note) for cross in crosses for layer in (cross.k, cross.v)]
    start = torch.tensor([[model.config.decoder_start_token_id]])
    for ids in inputs:
        model(input_ids=torch.tensor([ids]), decoder_input_ids=start)
    for hook in hooks:
        hook.remove()
    for cross in crosses:
        keys, values = (largest[layer].clamp_min(1e-6) / LARGEST for layer in (cross.k, cross.v))
        cross.k.weight /= keys[:, None]
        cross.q.weight *= keys[:, None]
        cross.v.weight /= values[:, None]
        cross.o.weight *= values[None, :]


def quantize_graphs(folder: Path) -> None:
    """Gives the two graphs in `folder` 8-bit weights, in place."""
    logging.getLogger().setLevel(logging.ERROR)  # its advice to preprocess, and a line for every node
    quantize_dynamic(
        folder / ENCODER,
        folder / ENCODER,
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul"],
    )
    settings = DefaultWeightOnlyQuantConfig(
        block_size=BLOCK, is_symmetric=True, accuracy_level=INT8_PRODUCTS, op_types_to_quantize=("MatMul",), bits=8
    )
    quantizer = MatMulNBitsQuantizer(onnx.load(folder / DECODER), algo_config=settings)
    quantizer.process()
    onnx.save(quantizer.model.model, folder / DECODER)
