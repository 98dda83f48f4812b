"""int8 self-attention of the encoder: scores and contexts as integer matrix products.

ONNX Runtime's attention operators compute in fp32 on CPUs, which took a third of the time of an int8 encoder.
"""

from collections.abc import Collection

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export.graphs.attention import FULL_ATTENTION

MICROSOFT = "com.microsoft"
QUERY_MAX = 127  # int8 range of queries, the left operand, stored as unsigned bytes around QUERY_ZERO
QUERY_ZERO = 128
KEY_VALUE_MAX = 63  # keys and values have 7 bits: sums of two products have to fit 16 bits on CPUs without VNNI
PROBABILITY_MAX = 255  # unsigned

# Names of the constants in the graph.
QUERY_STEP, KEY_VALUE_STEP, PROBABILITY_STEP = "attention.query_step", "attention.right_step", "attention.chance_step"
QUERY_ZERO_POINT, KEY_VALUE_ZERO_POINT = "attention.128", "attention.0"
PROBABILITY_ZERO_POINT = "attention.unsigned_0"
UNIT_SCALE, SPLIT_HEADS, MERGE_HEADS = "attention.one", "attention.apart", "attention.together"


def attention_nodes(graph: onnx.ModelProto) -> list[str]:
    """Names of the nodes that `quantize_attention` replaces."""
    return [node.name for node in graph.graph.node if node.op_type == FULL_ATTENTION]


def quantize_attention(model: onnx.ModelProto, fp32_nodes: Collection[str]) -> onnx.ModelProto:
    """The graph with its attention in int8, but for `fp32_nodes`; `model` itself is changed.

    The queries, keys and values of a text have one dynamic scale each. Every row of probabilities has its own, by its
    largest value: where attention is spread over a long text no probability comes near 1. Softmax is in fp32; the rest
    follows I-BERT (Kim et al. 2021).
    """
    graph = model.graph
    nodes, heads = [], None
    for node in graph.node:
        if node.op_type == FULL_ATTENTION and node.name not in fp32_nodes:
            nodes += _int8_attention(node)
            heads = next(attribute.i for attribute in node.attribute if attribute.name == "num_heads")
        else:
            nodes.append(node)
    if heads is None:
        return model
    del graph.node[:]
    graph.node.extend(nodes)
    constants = {
        QUERY_STEP: np.float32(1 / QUERY_MAX),
        KEY_VALUE_STEP: np.float32(1 / KEY_VALUE_MAX),
        PROBABILITY_STEP: np.float32(1 / PROBABILITY_MAX),
        QUERY_ZERO_POINT: np.uint8(QUERY_ZERO),
        KEY_VALUE_ZERO_POINT: np.int8(0),
        PROBABILITY_ZERO_POINT: np.uint8(0),
        UNIT_SCALE: np.float32(1),
        SPLIT_HEADS: np.array([0, 0, heads, -1]),
        MERGE_HEADS: np.array([0, 0, -1]),
    }
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
    return model


def _int8_attention(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The nodes that replace one attention node: inputs query, key, value (1, length, heads * d_kv) and bias (at 5)."""
    (query, key, value), bias, name = node.input[:3], node.input[5], node.name

    def tensor(part: str) -> str:
        return f"{name}.{part}"

    scores, biased, probabilities = tensor("scores"), tensor("biased"), tensor("chances")
    largest, scale, inverse_scale, ratio = tensor("most"), tensor("step"), tensor("inverse"), tensor("ratio")
    quantized, unscaled, context = tensor("whole"), tensor("mixed"), tensor("scaled")
    query_key = [tensor(part) for part in ("query.turned", "key.turned", "query.scale", "key.scale")]
    return [
        *_quantize_per_tensor(query, tensor("query"), QUERY_STEP, QUERY_ZERO_POINT, [0, 2, 1, 3]),
        *_quantize_per_tensor(key, tensor("key"), KEY_VALUE_STEP, KEY_VALUE_ZERO_POINT, [0, 2, 3, 1]),
        *_quantize_per_tensor(value, tensor("value"), KEY_VALUE_STEP, KEY_VALUE_ZERO_POINT, [0, 2, 1, 3]),
        helper.make_node(
            "MatMulIntegerToFloat", [*query_key, QUERY_ZERO_POINT], [scores], tensor("query_key"), domain=MICROSOFT
        ),
        helper.make_node("Add", [scores, bias], [biased]),
        helper.make_node("Softmax", [biased], [probabilities], axis=-1),
        helper.make_node("ReduceMax", [probabilities], [largest], axes=[-1], keepdims=1),
        helper.make_node("Mul", [largest, PROBABILITY_STEP], [scale]),
        helper.make_node("Reciprocal", [scale], [inverse_scale]),  # one a row, since dividing every value is slower
        helper.make_node("Mul", [probabilities, inverse_scale], [ratio]),
        helper.make_node("QuantizeLinear", [ratio, UNIT_SCALE, PROBABILITY_ZERO_POINT], [quantized]),
        helper.make_node(
            "MatMulIntegerToFloat",
            [quantized, tensor("value.turned"), UNIT_SCALE, tensor("value.scale"), PROBABILITY_ZERO_POINT],
            [unscaled],
            tensor("chances_value"),
            domain=MICROSOFT,
        ),
        helper.make_node("Mul", [unscaled, scale], [context]),
        helper.make_node("Transpose", [context], [f"{context}.turned"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", [f"{context}.turned", MERGE_HEADS], node.output),
    ]


def _quantize_per_tensor(tensor: str, name: str, step: str, zero_point: str, perm: list[int]) -> list[onnx.NodeProto]:
    """Nodes that quantize the tensor by one dynamic scale and split it by head.

    They write the scale to `name`.scale and the int8 values, transposed by `perm`, to `name`.turned.
    """
    magnitude, largest, scale, quantized, by_head = (
        f"{name}.{part}" for part in ("size", "most", "scale", "whole", "apart")
    )
    return [
        helper.make_node("Abs", [tensor], [magnitude]),
        helper.make_node("ReduceMax", [magnitude], [largest], keepdims=0),
        helper.make_node("Mul", [largest, step], [scale]),
        helper.make_node("QuantizeLinear", [tensor, scale, zero_point], [quantized]),
        helper.make_node("Reshape", [quantized, SPLIT_HEADS], [by_head]),
        helper.make_node("Transpose", [by_head], [f"{name}.turned"], perm=perm),
    ]
