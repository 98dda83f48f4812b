"""The encoder's self-attention in whole numbers: scores and mixed values as products of 8-bit integers.

ONNX Runtime's operators for attention compute in fp32 on CPUs, which took a third of an 8-bit encoder's time.
"""

from collections.abc import Collection

import numpy as np
import onnx
from onnx import helper, numpy_helper

ATTENTION = "MultiHeadAttention"
MICROSOFT = "com.microsoft"
LARGEST = 127  # of queries, left of the product, where ONNX Runtime wants unsigned bytes around MIDDLE
LARGEST_RIGHT = 63  # of keys and values, 7 bits: two products have to fit 16 on processors without VNNI
LARGEST_CHANCE = 255  # of probabilities, unsigned
MIDDLE = 128

QUERY_STEP, RIGHT_STEP, CHANCE_STEP = "attention.query_step", "attention.right_step", "attention.chance_step"
QUERY_MIDDLE, RIGHT_MIDDLE, CHANCE_MIDDLE = "attention.128", "attention.0", "attention.unsigned_0"
ONE, APART, TOGETHER = "attention.one", "attention.apart", "attention.together"


def attentions(graph: onnx.ModelProto) -> list[str]:
    """Names of the nodes that `round_attention` replaces."""
    return [node.name for node in graph.graph.node if node.op_type == ATTENTION]


def round_attention(model: onnx.ModelProto, kept: Collection[str]) -> onnx.ModelProto:
    """The graph with its attention in whole numbers, but for nodes named in `kept`; `model` itself is changed.

    Queries, keys and values of a text have one scale each, found on the fly, and every row of probabilities its own,
    by its largest: where attention is spread over a long text no probability comes near 1. As in I-BERT (Kim et al.
    2021), but softmax is in fp32.
    """
    graph = model.graph
    nodes, heads = [], None
    for node in graph.node:
        if node.op_type == ATTENTION and node.name not in kept:
            nodes += _whole(node)
            heads = next(attribute.i for attribute in node.attribute if attribute.name == "num_heads")
        else:
            nodes.append(node)
    if heads is None:
        return model
    del graph.node[:]
    graph.node.extend(nodes)
    constants = {
        QUERY_STEP: np.float32(1 / LARGEST),
        RIGHT_STEP: np.float32(1 / LARGEST_RIGHT),
        CHANCE_STEP: np.float32(1 / LARGEST_CHANCE),
        QUERY_MIDDLE: np.uint8(MIDDLE),
        RIGHT_MIDDLE: np.int8(0),
        CHANCE_MIDDLE: np.uint8(0),
        ONE: np.float32(1),
        APART: np.array([0, 0, heads, -1]),
        TOGETHER: np.array([0, 0, -1]),
    }
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
    return model


def _whole(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """What stands for one node of attention: query, key, value (1, length, heads x d_kv), and a bias at 5."""
    (query, key, value), bias, name = node.input[:3], node.input[5], node.name

    def called(part: str) -> str:
        return f"{name}.{part}"

    scores, biased, chances, most, step = (called(part) for part in ("scores", "biased", "chances", "most", "step"))
    inverse, ratio, whole, mixed, scaled = (called(part) for part in ("inverse", "ratio", "whole", "mixed", "scaled"))
    return [
        *_rounded(query, called("query"), QUERY_STEP, QUERY_MIDDLE, [0, 2, 1, 3]),
        *_rounded(key, called("key"), RIGHT_STEP, RIGHT_MIDDLE, [0, 2, 3, 1]),
        *_rounded(value, called("value"), RIGHT_STEP, RIGHT_MIDDLE, [0, 2, 1, 3]),
        helper.make_node(
            "MatMulIntegerToFloat",
            [*(called(part) for part in ("query.turned", "key.turned", "query.scale", "key.scale")), QUERY_MIDDLE],
            [scores],
            called("query_key"),
            domain=MICROSOFT,
        ),
        helper.make_node("Add", [scores, bias], [biased]),
        helper.make_node("Softmax", [biased], [chances], axis=-1),
        helper.make_node("ReduceMax", [chances], [most], axes=[-1], keepdims=1),
        helper.make_node("Mul", [most, CHANCE_STEP], [step]),
        helper.make_node("Reciprocal", [step], [inverse]),  # of few, since a division of all takes longer
        helper.make_node("Mul", [chances, inverse], [ratio]),
        helper.make_node("QuantizeLinear", [ratio, ONE, CHANCE_MIDDLE], [whole]),
        helper.make_node(
            "MatMulIntegerToFloat",
            [whole, called("value.turned"), ONE, called("value.scale"), CHANCE_MIDDLE],
            [mixed],
            called("chances_value"),
            domain=MICROSOFT,
        ),
        helper.make_node("Mul", [mixed, step], [scaled]),
        helper.make_node("Transpose", [scaled], [f"{scaled}.turned"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", [f"{scaled}.turned", TOGETHER], node.output),
    ]


def _rounded(tensor: str, name: str, step: str, middle: str, turn: list[int]) -> list[onnx.NodeProto]:
    """Nodes that round the tensor by one scale, `name`.scale, and give each head a matrix, `name`.turned."""
    size, most, scale, whole, apart = (f"{name}.{part}" for part in ("size", "most", "scale", "whole", "apart"))
    return [
        helper.make_node("Abs", [tensor], [size]),
        helper.make_node("ReduceMax", [size], [most], keepdims=0),
        helper.make_node("Mul", [most, step], [scale]),
        helper.make_node("QuantizeLinear", [tensor, scale, middle], [whole]),
        helper.make_node("Reshape", [whole, APART], [apart]),
        helper.make_node("Transpose", [apart], [f"{name}.turned"], perm=turn),
    ]
