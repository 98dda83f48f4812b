"""8-bit weights and sources: what makes a bundle small and fast on CPUs.

The encoder reads one text at a time, so the scales of its activations, which are found on the fly, belong to that text
alone. The decoder's matrices have 8-bit weights and their activations are scaled row by row. So a summary depends as
little on its company as in fp32.
"""

import logging
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import (
    DefaultWeightOnlyQuantConfig,
    DefaultWeightOnlyQuantizer,
    MatMulNBitsQuantizer,
)
from torch import nn
from transformers import T5ForConditionalGeneration

from engine.bundle import DECODER, ENCODER

LARGEST = 127  # of int8
BLOCKS = (128, 64, 32, 16)  # weights of the decoder that share a scale: the first that divides a row
INT8_PRODUCTS = 4  # MatMulNBits' accuracy_level: activations are rounded to int8, too
MICROSOFT = "com.microsoft"
EMBEDDING = "shared"  # the look-up's name in both graphs, which is the table's in transformers


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


def weighted(graph: onnx.ModelProto) -> list[str]:
    """Names of the nodes whose weights `quantize_graphs` rounds: products with a matrix, look-ups in the embedding."""
    weights = {tensor.name for tensor in graph.graph.initializer}
    return [
        node.name
        for node in graph.graph.node
        if (node.op_type == "MatMul" and node.input[1] in weights) or node.name == EMBEDDING
    ]


def quantize_graphs(graphs: dict[str, onnx.ModelProto], kept: Collection[str] = ()) -> dict[str, onnx.ModelProto]:
    """The graphs of `export.onnx_model.trace` with 8-bit weights; nodes named in `kept` stay in fp32."""
    logging.getLogger().setLevel(logging.ERROR)  # its advice to preprocess, and a line for every node
    encoder = _with_8_bit_products(graphs[ENCODER], kept)
    decoder = _with_8_bit_weights(graphs[DECODER], kept)
    for graph in (encoder, decoder):
        _round_embedding(graph, kept)
    return {ENCODER: encoder, DECODER: decoder}


def _with_8_bit_products(graph: onnx.ModelProto, kept: Collection[str]) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / ENCODER
        quantize_dynamic(
            _copy(graph),
            path,
            per_channel=True,
            # Full 8 bits overflow the 16-bit sums of processors with AVX2 alone, which then say something else than
            # those with VNNI do. With 7 bits both say the same.
            reduce_range=True,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul"],
            nodes_to_exclude=list(kept),
        )
        return onnx.load(path)


def _with_8_bit_weights(graph: onnx.ModelProto, kept: Collection[str]) -> onnx.ModelProto:
    # A row of the output layer is one of the embedding, and both have to be cut into blocks alike.
    width = next(_weight(graph, node).shape[1] for node in graph.graph.node if node.name == EMBEDDING)
    quantizer = MatMulNBitsQuantizer(_copy(graph), algo_config=_settings(width), nodes_to_exclude=list(kept))
    quantizer.process()
    return quantizer.model.model


def _settings(width: int) -> DefaultWeightOnlyQuantConfig:
    return DefaultWeightOnlyQuantConfig(
        block_size=next((block for block in BLOCKS if width % block == 0), BLOCKS[-1]),
        is_symmetric=True,
        accuracy_level=INT8_PRODUCTS,
        op_types_to_quantize=("MatMul",),
        bits=8,
    )


def _round_embedding(model: onnx.ModelProto, kept: Collection[str]) -> None:
    """Replaces the look-up by one in 8-bit numbers, laid out as a tied output layer has them, in place."""
    graph = model.graph
    node = next(node for node in graph.node if node.name == EMBEDDING)
    table = _weight(model, node)
    settings = _settings(table.shape[1])
    if node.name in kept or table.shape[1] % settings.block_size:
        return
    numbers, scales, _ = DefaultWeightOnlyQuantizer(settings).qbits_block_quant(np.ascontiguousarray(table.T))
    old = next(tensor for tensor in graph.initializer if tensor.name == node.input[0])
    graph.initializer.remove(old)
    names = f"{old.name}.numbers", f"{old.name}.scales"
    for name, array in zip(names, (numbers.reshape(table.shape), scales.reshape(len(table), -1)), strict=True):
        graph.initializer.append(numpy_helper.from_array(array, name))
    rounded = helper.make_node(
        "GatherBlockQuantized",
        [names[0], node.input[1], names[1]],
        node.output,
        node.name,
        domain=MICROSOFT,
        gather_axis=0,
        quantize_axis=1,
        block_size=settings.block_size,
        bits=8,
    )
    place = list(graph.node).index(node)
    graph.node.remove(node)
    graph.node.insert(place, rounded)


def _weight(model: onnx.ModelProto, node: onnx.NodeProto) -> np.ndarray:
    """The first of the node's inputs that is an initializer."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    return numpy_helper.to_array(next(weights[name] for name in node.input if name in weights))


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy
