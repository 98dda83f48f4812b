"""int8 graphs for CPUs: smaller and faster, and as independent of the batch as fp32.

The encoder reads one text at a time, so the dynamic scales of its activations (`quantize_dynamic`) belong to that text
alone. The decoder's activations have a scale for each row, and its products are exact integer sums. So the summary of
a text does not depend on the other texts of a batch.
"""

import copy
import logging
import tempfile
from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from export.graphs.calibration import INT8_MAX
from export.graphs.trace import EMBEDDING, HEAD
from export.graphs.weights import Graphs
from export.precision.int8_attention import MICROSOFT, attention_nodes, quantize_attention
from precis.bundle.names import DECODER, ENCODER

WEIGHT_MAX = 63  # 7 bits, see _quantize_encoder_matmuls
# Names in the graph: constants, and the zero point of each row.
ROW_STEP, UNIT_SCALE, ZERO_POINT, LAST_AXIS, ZERO_POINTS = (
    f"rows.{name}" for name in ("step", "unit", "middle", "axis", "zero_points")
)


def quantizable_nodes(graph: onnx.ModelProto) -> list[str]:
    """Names of the nodes that `quantize_graphs` quantizes: products with a weight, the embedding, attention."""
    weights = {tensor.name for tensor in graph.graph.initializer}
    return [
        node.name
        for node in graph.graph.node
        if (node.op_type == "MatMul" and node.input[1] in weights) or node.name == EMBEDDING
    ] + attention_nodes(graph)


def quantize_graphs(graphs: Graphs, fp32_nodes: Collection[str] = ()) -> Graphs:
    """The graphs in int8, but for `fp32_nodes`; `graphs` are those of `export.graphs.trace.trace` with calibration."""
    logging.getLogger().setLevel(logging.ERROR)  # quantize_dynamic logs advice, and a line for every node
    encoder = quantize_attention(_quantize_encoder_matmuls(graphs[ENCODER], fp32_nodes), fp32_nodes)
    decoder = quantize_matmuls(graphs[DECODER], fp32_nodes)
    for graph in (encoder, decoder):
        _quantize_embedding(graph, fp32_nodes)
    return {ENCODER: encoder, DECODER: decoder}


def _quantize_encoder_matmuls(graph: onnx.ModelProto, fp32_nodes: Collection[str]) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / ENCODER
        quantize_dynamic(
            copy.deepcopy(graph),
            path,
            per_channel=True,
            # Full 8 bits overflow the 16-bit sums of CPUs with AVX2 alone, which then differ from those with VNNI.
            # With 7 bits both compute the same.
            reduce_range=True,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul"],
            nodes_to_exclude=list(fp32_nodes),
        )
        return onnx.load(path)


def quantize_matmuls(model: onnx.ModelProto, fp32_nodes: Collection[str]) -> onnx.ModelProto:
    """A copy of the graph with its weight products in int8, but for `fp32_nodes`.

    Each row of activations has a dynamic scale, each column of weights a static one (the vector-wise quantization of
    LLM.int8, Dettmers et al. 2022). For many rows this takes a third of the time of MatMulNBits, for one row the same.
    """
    model = copy.deepcopy(model)
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    constants: dict[str, np.ndarray | np.generic] = {
        ROW_STEP: np.float32(1 / INT8_MAX),
        UNIT_SCALE: np.float32(1),
        ZERO_POINT: np.uint8(INT8_MAX + 1),
        LAST_AXIS: np.array([1]),
    }
    products = {
        node.output[0]
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in weights and node.name not in fp32_nodes
    }
    relus = _relus_between(graph, products)
    nodes: list[onnx.NodeProto] = []
    row_scales: dict[str, str] = {}  # names of the scales (rows, 1) of products, by the name of their left operand
    unscaled_by: dict[str, str] = {}  # of the outputs of `relus`, the scales that they lack
    for node in graph.node:
        output = node.output[0]
        if output not in products:
            if node.op_type == "Relu" and node.input[0] in relus:
                node.input[0] = f"{node.input[0]}.unscaled"
            nodes.append(node)
            continue
        rows, weight = node.input
        if rows not in row_scales:
            nodes += _quantize_rows(rows, is_first=not row_scales, unscaled_by=unscaled_by.get(rows))
            row_scales[rows] = f"{rows}.scale"
        values, constants[f"{weight}.scales"] = _quantize_columns(numpy_helper.to_array(weights[weight]))
        if node.name == HEAD:  # has the layout of the embedding; ONNX Runtime transposes it once, at load
            constants[f"{weight}.rows"] = np.ascontiguousarray(values.T)
            nodes.append(helper.make_node("Transpose", [f"{weight}.rows"], [f"{weight}.int8"], perm=[1, 0]))
        else:
            constants[f"{weight}.int8"] = values
        unscaled = f"{output}.unscaled"
        inputs = [f"{rows}.uint8", f"{weight}.int8", UNIT_SCALE, f"{weight}.scales", ZERO_POINT]
        nodes.append(helper.make_node("MatMulIntegerToFloat", inputs, [unscaled], node.name, domain=MICROSOFT))
        if output in relus:
            unscaled_by[relus[output]] = row_scales[rows]
        else:
            nodes.append(helper.make_node("Mul", [unscaled, row_scales[rows]], [output], f"{node.name}.scaled"))
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    remaining = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(remaining)
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items() if name in used
    )
    return model


def _relus_between(graph: onnx.GraphProto, products: Collection[str]) -> dict[str, str]:
    """The outputs, by the inputs, of the Relus that read one of `products` alone and are read by `products` only.

    Relu commutes with the scale of a row, which need not be applied before it.
    """
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return {
        node.input[0]: node.output[0]
        for node in graph.node
        if node.op_type == "Relu" and node.input[0] in products and len(readers[node.input[0]]) == 1
        if all(reader.output[0] in products for reader in readers.get(node.output[0], ()))
    }


def _quantize_rows(rows: str, is_first: bool, unscaled_by: str | None) -> list[onnx.NodeProto]:
    """Nodes that quantize each row of the tensor `rows` (n, size) to uint8 around ZERO_POINT, as `rows`.uint8.

    A row's scale is its largest absolute value times ROW_STEP; a row of zeros has scale 0. Products are scaled by
    `rows`.scale (n, 1). With `unscaled_by`, scales (n, 1), `rows` is the output of a Relu that is to be scaled by them.
    The first of a graph's tensors gives the number of zero points.
    """
    largest, scales, scale = (f"{rows}.{part}" for part in ("largest", "scales", "scale"))
    nodes, magnitude = [], rows  # those of Relu are never negative
    if unscaled_by is None:
        magnitude = f"{rows}.abs"
        nodes.append(helper.make_node("Abs", [rows], [magnitude]))
    nodes += [
        helper.make_node("ReduceMax", [magnitude], [largest], axes=[-1], keepdims=0),
        helper.make_node("Mul", [largest, ROW_STEP], [scales]),
    ]
    if is_first:
        nodes += [
            helper.make_node("Shape", [scales], [f"{ZERO_POINTS}.shape"]),
            helper.make_node("Expand", [ZERO_POINT, f"{ZERO_POINTS}.shape"], [ZERO_POINTS]),
        ]
    nodes.append(helper.make_node("QuantizeLinear", [rows, scales, ZERO_POINTS], [f"{rows}.uint8"], axis=0))
    if unscaled_by is None:
        return [*nodes, helper.make_node("Unsqueeze", [scales, LAST_AXIS], [scale])]
    relative = f"{rows}.relative_scale"
    return [
        *nodes,
        helper.make_node("Unsqueeze", [scales, LAST_AXIS], [relative]),
        helper.make_node("Mul", [relative, unscaled_by], [scale]),
    ]


def _quantize_columns(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 7-bit values, int8, of a weight (inner, columns), and the scale of each column (columns,)."""
    scales = np.maximum(np.abs(weight).max(axis=0), np.finfo(np.float32).tiny) / np.float32(WEIGHT_MAX)
    return np.rint(weight / scales).astype(np.int8), scales


def _quantize_embedding(model: onnx.ModelProto, fp32_nodes: Collection[str]) -> None:
    """Replaces the embedding look-up, in place, by one in int8 that dequantizes its rows.

    Values and scales are those that a tied output layer has, so that both are stored once.
    """
    graph = model.graph
    node = next(node for node in graph.node if node.name == EMBEDDING)
    if node.name in fp32_nodes:
        return
    table = next(tensor for tensor in graph.initializer if tensor.name == node.input[0])
    values, scales = _quantize_columns(numpy_helper.to_array(table).T)
    graph.initializer.remove(table)
    rows_name, scales_name = f"{table.name}.rows", f"{table.name}.scales"
    for name, array in ((rows_name, np.ascontiguousarray(values.T)), (scales_name, scales[:, None])):
        graph.initializer.append(numpy_helper.from_array(array, name))
    ids = node.input[1]
    quantized, unscaled, scale = (f"{node.output[0]}.{part}" for part in ("whole", "float", "scale"))
    index = list(graph.node).index(node)
    graph.node.remove(node)
    for replacement in (  # inserted at one index, so the last comes first
        helper.make_node("Mul", [unscaled, scale], node.output, node.name),
        helper.make_node("Gather", [scales_name, ids], [scale]),
        helper.make_node("Cast", [quantized], [unscaled], to=onnx.TensorProto.FLOAT),
        helper.make_node("Gather", [rows_name, ids], [quantized]),
    ):
        graph.node.insert(index, replacement)
