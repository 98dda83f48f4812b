"""8-bit weights and sources: what makes a bundle small and fast on CPUs.

The encoder reads one text at a time, so the scales of its activations, which are found on the fly, belong to that text
alone. The decoder's are scaled row by row, and its products are sums of whole numbers. So a summary depends as little
on its company as in fp32.
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
from torch import nn
from transformers import T5ForConditionalGeneration

from export.precision.int8_attention import MICROSOFT, attentions, round_attention
from precis.bundle.names import DECODER, ENCODER

LARGEST = 127  # of int8
LARGEST_WEIGHT = 63  # of 7 bits, see _with_8_bit_products
ONE, STEP, MIDDLE = "rows.one", "rows.step", "rows.middle"
HEAD = "lm_head"
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


def roundable(graph: onnx.ModelProto) -> list[str]:
    """Names of the nodes that `quantize_graphs` rounds: products with a matrix, the embedding, attention."""
    weights = {tensor.name for tensor in graph.graph.initializer}
    return [
        node.name
        for node in graph.graph.node
        if (node.op_type == "MatMul" and node.input[1] in weights) or node.name == EMBEDDING
    ] + attentions(graph)


def quantize_graphs(graphs: dict[str, onnx.ModelProto], kept: Collection[str] = ()) -> dict[str, onnx.ModelProto]:
    """The graphs of `export.onnx_model.trace` with 8-bit weights; nodes named in `kept` stay in fp32."""
    logging.getLogger().setLevel(logging.ERROR)  # its advice to preprocess, and a line for every node
    encoder = round_attention(_with_8_bit_products(graphs[ENCODER], kept), kept)
    decoder = round_products(graphs[DECODER], kept)
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


def round_products(model: onnx.ModelProto, kept: Collection[str]) -> onnx.ModelProto:
    """The graph with its matrix products in whole numbers.

    Each row of activations is rounded by a scale of its own, each column of weights likewise (LLM.int8's vector-wise
    quantization, Dettmers et al. 2022). For many rows this takes a third of MatMulNBits' time, for one row as long.
    """
    model = _copy(model)
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes, rounded = [], set()
    constants = {ONE: np.float32(1), STEP: np.float32(1 / LARGEST), MIDDLE: np.uint8(LARGEST + 1)}
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in weights or node.name in kept:
            nodes.append(node)
            continue
        rows, name = node.input
        if rows not in rounded:
            rounded.add(rows)
            nodes += _rounded_rows(rows)
        whole, scales = _rounded_columns(numpy_helper.to_array(weights[name]))
        constants[f"{name}.scales"] = scales
        if node.name == HEAD:  # laid out as the embedding is; ONNX Runtime turns it once, when it loads the graph
            constants[f"{name}.rows"] = np.ascontiguousarray(whole.T)
            nodes.append(helper.make_node("Transpose", [f"{name}.rows"], [f"{name}.whole"], perm=[1, 0]))
        else:
            constants[f"{name}.whole"] = whole
        product = f"{node.output[0]}.unscaled"
        given = [f"{rows}.whole", f"{name}.whole", ONE, f"{name}.scales", MIDDLE]
        nodes += [
            helper.make_node("MatMulIntegerToFloat", given, [product], node.name, domain=MICROSOFT),
            helper.make_node("Mul", [product, f"{rows}.scale"], [node.output[0]], f"{node.name}.scaled"),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
    read = {name for node in nodes for name in node.input}
    left = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(left)
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
    return model


def _rounded_rows(rows: str) -> list[onnx.NodeProto]:
    """Nodes that scale and round each row of the tensor named `rows`; a row of zeros gets the scale 0."""
    largest, scale, ratio, whole = (f"{rows}.{part}" for part in ("largest", "scale", "ratio", "whole"))
    return [
        helper.make_node("Abs", [rows], [f"{rows}.abs"]),
        helper.make_node("ReduceMax", [f"{rows}.abs"], [largest], axes=[-1], keepdims=1),
        helper.make_node("Mul", [largest, STEP], [scale]),
        helper.make_node("Div", [rows, scale], [ratio]),
        helper.make_node("QuantizeLinear", [ratio, ONE, MIDDLE], [whole]),
    ]


def _rounded_columns(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers of 7 bits, int8, of a matrix (inner, columns), and each column's scale (columns,)."""
    scales = np.maximum(np.abs(matrix).max(axis=0), np.finfo(np.float32).tiny) / np.float32(LARGEST_WEIGHT)
    return np.rint(matrix / scales).astype(np.int8), scales


def _round_embedding(model: onnx.ModelProto, kept: Collection[str]) -> None:
    """Replaces the look-up by one in whole numbers, the same as a tied output layer has, in place."""
    graph = model.graph
    node = next(node for node in graph.node if node.name == EMBEDDING)
    if node.name in kept:
        return
    old = next(tensor for tensor in graph.initializer if tensor.name == node.input[0])
    whole, scales = _rounded_columns(numpy_helper.to_array(old).T)
    graph.initializer.remove(old)
    names = f"{old.name}.rows", f"{old.name}.scales"
    for name, array in zip(names, (np.ascontiguousarray(whole.T), scales[:, None]), strict=True):
        graph.initializer.append(numpy_helper.from_array(array, name))
    ids, found = node.input[1], [f"{node.output[0]}.{part}" for part in ("whole", "float", "scale")]
    place = list(graph.node).index(node)
    graph.node.remove(node)
    for step in (
        helper.make_node("Mul", [found[1], found[2]], node.output, node.name),
        helper.make_node("Gather", [names[1], ids], [found[2]]),
        helper.make_node("Cast", [found[0]], [found[1]], to=onnx.TensorProto.FLOAT),
        helper.make_node("Gather", [names[0], ids], [found[0]]),
    ):
        graph.node.insert(place, step)


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy
