"""PyTorch's own exporter, `torch.onnx.export` with Dynamo. It needs the package onnxscript.

The operators of `export.graphs.attention` get shapes, which Dynamo asks for, and translations, which need schemas of
ONNX Runtime's operators.
"""

import ast
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from onnx.defs import OpSchema, deregister_schema, register_schema
from onnxscript import ir, opset18, values
from torch import nn

from export.graphs.attention import (
    FULL_ATTENTION,
    OPSET,
    add_and_normalize,
    attention,
    cached_attention,
    integer_matmul,
    quantize_int8,
    quantize_uint8,
)
from export.graphs.dynamic import GraphConfig

EXPORTED_OPSET = 18  # the lowest that the exporter writes
CONTRIB = values.Opset("com.microsoft", 1)
SCOPES = "pkg.torch.onnx.name_scopes"  # a node's note of its modules, outermost first, and its operation
CACHES = "past"  # the argument of a decoder that takes all caches


def export_graph(module: nn.Module, graph: GraphConfig) -> onnx.ModelProto:
    """The ONNX graph of `module`."""
    shapes: dict[str, Any] = {name: graph.inputs.get(name) for name in graph.example}
    if CACHES in shapes:
        shapes[CACHES] = [axes for name, axes in graph.inputs.items() if name not in shapes]
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), _schemas():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            kwargs=_without_aliases(graph.example),
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            opset_version=EXPORTED_OPSET,
            custom_translation_table=TRANSLATIONS,
            optimize=False,
            verbose=False,
        )
    assert program is not None  # None is what the exporter without Dynamo returns
    program.optimize()  # without the schemas: they infer no types, and the exporter's own would be lost
    model = program.model_proto
    _name_after_modules(model.graph)
    _transpose_weights(model.graph)
    _lower_opset(model)
    return model


def _without_aliases(example: dict[str, Any]) -> dict[str, Any]:
    """The example inputs with a tensor of its own for each: the exporter merges inputs that are one tensor."""
    return {
        name: [cache.clone() for cache in value] if isinstance(value, list) else value.clone()
        for name, value in example.items()
    }


def _lower_opset(model: onnx.ModelProto) -> None:
    """Makes the graph one of OPSET, which the conversions to int8 and fp16 add nodes of.

    Of the operators in it only reductions have changed: their axes were an attribute.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("ReduceMean", "ReduceMax"):
            for attribute in [entry for entry in node.attribute if entry.name == "noop_with_empty_axes"]:
                node.attribute.remove(attribute)
            if len(node.input) > 1:
                axes = numpy_helper.to_array(constants[node.input.pop()])
                node.attribute.append(helper.make_attribute("axes", axes.tolist()))
    next(entry for entry in model.opset_import if not entry.domain).version = OPSET


def _name_after_modules(graph: onnx.GraphProto) -> None:
    """Puts a node's module before its name, as Optimum's exporter does, and drops the exporter's notes on the node."""
    for node in graph.node:
        notes = {entry.key: entry.value for entry in node.metadata_props}
        scopes = ast.literal_eval(notes.get(SCOPES, "[]"))
        node.name = "/".join(["", *scopes[-2:-1], node.name])
        node.ClearField("metadata_props")


def _transpose_weights(graph: onnx.GraphProto) -> None:
    """Stores weights as matrix products read them; the exporter leaves the transposition of large ones to the graph."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Transpose" and node.input[0] in weights]:
        values = numpy_helper.to_array(weights[node.input[0]]).transpose(node.attribute[0].ints)
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), node.output[0]))
        graph.node.remove(node)
    read = {name for node in graph.node for name in node.input}
    for name in weights.keys() - read:
        graph.initializer.remove(weights[name])


attention.register_fake(lambda query, *_: torch.empty_like(query))
cached_attention.register_fake(
    lambda query_key_value, past_key, past_value, *_: (
        query_key_value.new_empty((*query_key_value.shape[:2], query_key_value.shape[2] // 3)),
        torch.empty_like(past_key),
        torch.empty_like(past_value),
    )
)
add_and_normalize.register_fake(lambda hidden, *_: (torch.empty_like(hidden), torch.empty_like(hidden)))
quantize_int8.register_fake(lambda values: torch.empty_like(values, dtype=torch.int8))
quantize_uint8.register_fake(lambda values, scale, zero_point: torch.empty_like(values, dtype=torch.uint8))
integer_matmul.register_fake(
    lambda left, right, *_: left.new_empty((*left.shape[:-1], right.shape[-1]), dtype=torch.float32)
)


def _schema(operator: str, inputs: int, outputs: int, attributes: dict[str, OpSchema.AttrType]) -> OpSchema:
    """An operator of ONNX Runtime with as many optional inputs and outputs of any type."""
    types = [f"tensor({name})" for name in ("float", "int8", "uint8", "int32", "int64")]
    optional = OpSchema.FormalParameterOption.Optional
    values = [OpSchema.FormalParameter(f"V{i}", f"T{i}", param_option=optional) for i in range(inputs + outputs)]
    return OpSchema(
        operator,
        CONTRIB.domain,
        CONTRIB.version,
        inputs=values[:inputs],
        outputs=values[inputs:],
        type_constraints=[(f"T{i}", types, "") for i in range(inputs + outputs)],
        attributes=[OpSchema.Attribute(name, kind, required=False) for name, kind in attributes.items()],
    )


_HEADS = {"num_heads": OpSchema.AttrType.INT, "scale": OpSchema.AttrType.FLOAT}
_QUANTIZATION = {
    "k_quant_type": OpSchema.AttrType.STRING,
    "v_quant_type": OpSchema.AttrType.STRING,
    "kv_cache_bit_width": OpSchema.AttrType.INT,
}
SCHEMAS = (
    _schema(FULL_ATTENTION, 6, 1, _HEADS),
    _schema("GroupQueryAttention", 14, 3, {**_HEADS, "kv_num_heads": OpSchema.AttrType.INT, **_QUANTIZATION}),
    _schema("SkipSimplifiedLayerNormalization", 3, 4, {"epsilon": OpSchema.AttrType.FLOAT}),
    _schema("MatMulIntegerToFloat", 5, 1, {}),
)


@contextmanager
def _schemas() -> Iterator[None]:
    """Inside the block, the onnx package knows the operators of ONNX Runtime that translations write."""
    for schema in SCHEMAS:
        register_schema(schema)
    try:
        yield
    finally:
        for schema in SCHEMAS:
            deregister_schema(schema.name, schema.since_version, schema.domain)


def _constant(value: float | list[float], dtype: type) -> Any:
    return opset18.Constant(value=numpy_helper.from_array(np.array(value, dtype)))


def _attention(query, key, value, bias, heads: int):
    return CONTRIB.MultiHeadAttention(query, key, value, None, None, bias, num_heads=heads, scale=1.0)


def _cached_attention(query_key_value, past_key, past_value, last, total, bias, heads: int):
    missing = None, None, None  # rotary embeddings and position ids, which T5 does not have
    scales, quantization = (), {}
    if past_key.dtype == ir.DataType.INT8:
        scales = (None, *(_constant([1.0], np.float32) for _ in range(2)))  # no sinks; of keys and values
        quantization = {"k_quant_type": "PER_TENSOR", "v_quant_type": "PER_TENSOR", "kv_cache_bit_width": 8}
    return CONTRIB.GroupQueryAttention(
        *(query_key_value, None, None, past_key, past_value, last, total, *missing, bias, *scales),
        num_heads=heads,
        kv_num_heads=heads,
        scale=1.0,
        **quantization,
        _outputs=3,
    )


def _add_and_normalize(hidden, update, weight, epsilon: float):
    normed, _, _, total = CONTRIB.SkipSimplifiedLayerNormalization(hidden, update, weight, epsilon=epsilon, _outputs=4)
    return normed, total


def _quantize_int8(values):
    return opset18.QuantizeLinear(values, _constant(1.0, np.float32), _constant(0, np.int8))


def _quantize_uint8(values, scale: float, zero_point: int):
    return opset18.QuantizeLinear(values, _constant(scale, np.float32), _constant(zero_point, np.uint8))


def _integer_matmul(left, right, scale: float, zero_point: int):
    scales = _constant(scale, np.float32), _constant(1.0, np.float32)
    return CONTRIB.MatMulIntegerToFloat(left, right, *scales, _constant(zero_point, np.uint8))


def _index(values, indices):
    """`values[index]` as Gather; the exporter's own GatherND is slower."""
    (index,) = indices
    return opset18.Gather(values, index, axis=0)


def _linear(values, weight, bias=None):
    """A product without bias, as T5's are. The exporter's own is Gemm for two dimensions, which is not converted."""
    assert bias is None
    return opset18.MatMul(values, opset18.Transpose(weight, perm=[1, 0]))


def _rsqrt(values):
    """As a division, which ONNX Runtime fuses with the rest of T5's norm."""
    return opset18.Div(_constant(1.0, np.float32), opset18.Sqrt(values))


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.index.Tensor: _index,
    torch.ops.aten.linear.default: _linear,
    torch.ops.aten.rsqrt.default: _rsqrt,
    torch.ops.precis.attention.default: _attention,
    torch.ops.precis.cached_attention.default: _cached_attention,
    torch.ops.precis.add_and_normalize.default: _add_and_normalize,
    torch.ops.precis.quantize_int8.default: _quantize_int8,
    torch.ops.precis.quantize_uint8.default: _quantize_uint8,
    torch.ops.precis.integer_matmul.default: _integer_matmul,
}
