"""fp16 graphs for GPUs: nodes that would overflow stay in fp32, with casts between the two types.

T5 was trained in bfloat16, whose range is that of fp32; fp16 ends at 65,504, and T5's feed-forward layers overflow it
(transformers #4586). So nodes that read or write a value above a limit (`export.precision.activations`) stay in fp32,
as do the layer norms up to their weights, whose sums of squares transformers computes in fp32, too, and the sum that
makes the best logit a probability.
"""

import copy
from collections.abc import Iterable

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from export.graphs.weights import Graphs
from export.precision.activations import ActivationRange
from precis.bundle.names import DECODER

FP16_MAX = 65504.0
# Limits to try in turn: a document outside the measured ones may reach larger values.
ACTIVATION_LIMITS = (FP16_MAX / 2, FP16_MAX / 16, FP16_MAX / 256)
SIDES = (".decoder.", ".encoder.")  # parts of cache names: self-attention and cross-attention
FP32_OUTPUTS = ("logits", "best_log_probability")
FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def with_shared_caches(decoder: onnx.ModelProto, fp32_nodes: Iterable[str]) -> list[str]:
    """`fp32_nodes` and all attention nodes that need their cache type, sorted.

    All self-attention caches have one type, and so have all cross-attention caches: where one attention node stays in
    fp32, so do all of its side.
    """
    nodes = set(fp32_nodes)
    for side in SIDES:
        attention = {node.name for node in decoder.graph.node if any(_is_cache(name, side) for name in node.input)}
        if attention & nodes:
            nodes |= attention
    return sorted(nodes)


def to_fp16(graphs: Graphs, ranges: dict[str, ActivationRange], fp32_nodes: list[str]) -> Graphs:
    """The fp32 `graphs` in fp16, but for norms, logits and `fp32_nodes` (as `with_shared_caches` returns them).

    `ranges` are what `export.precision.activations.measure_activations` returns for the same graphs.
    """
    nodes = [node for node in graphs[DECODER].graph.node if node.name in fp32_nodes]
    fp32_sides = [side for side in SIDES if any(_is_cache(name, side) for node in nodes for name in node.input)]
    return {
        name: _Fp16Conversion(graph, ranges[name].float_tensors, set(fp32_nodes), fp32_sides).model
        for name, graph in graphs.items()
    }


def _is_cache(name: str, side: str) -> bool:
    return name.startswith(("past_key_values.", "present.")) and side in name


class _Fp16Conversion:
    """Converts a copy of one graph; `types` holds the type in which each fp32 tensor of the original is computed."""

    def __init__(
        self, graph: onnx.ModelProto, float_tensors: frozenset[str], fp32_nodes: set[str], fp32_sides: list[str]
    ) -> None:
        self.model = copy.deepcopy(graph)
        self.graph, self.fp32_nodes, self.fp32_sides = self.model.graph, fp32_nodes, fp32_sides
        self.types: dict[str, int] = {}
        self.casts: dict[str, str] = {}
        self.nodes: list[NodeProto] = []
        self.weights = self._take_weights()
        self.used_weights: dict[str, TensorProto] = {}
        self._remove_redundant_casts(float_tensors)
        for entry in self.graph.input:
            if entry.type.tensor_type.elem_type == FLOAT:
                self.types[entry.name] = entry.type.tensor_type.elem_type = self._interface_type(entry.name)
        for node in self.graph.node:
            self._convert(node, float_tensors)
        for entry in self.graph.output:
            if entry.type.tensor_type.elem_type == FLOAT:
                entry.type.tensor_type.elem_type = self._set_output_type(entry.name)
        for field, content in (("node", self.nodes), ("initializer", self.used_weights.values()), ("value_info", ())):
            self.graph.ClearField(field)
            getattr(self.graph, field).extend(content)

    def _interface_type(self, name: str) -> int:
        """The type of a graph input or output."""
        return FLOAT if name in FP32_OUTPUTS or any(side in name for side in self.fp32_sides) else HALF

    def _take_weights(self) -> dict[str, TensorProto]:
        """Initializers, and the values of Constant nodes, which are removed from the graph."""
        weights = {tensor.name: tensor for tensor in self.graph.initializer}
        for node in [node for node in self.graph.node if node.op_type == "Constant"]:
            value = next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)
            if value is not None:
                weights[node.output[0]] = numpy_helper.from_array(numpy_helper.to_array(value), node.output[0])
                self.graph.node.remove(node)
        return weights

    def _remove_redundant_casts(self, float_tensors: frozenset[str]) -> None:
        """Removes casts from fp32 to fp32, which the tracer writes around layer norms."""
        replaced: dict[str, str] = {}
        outputs = {entry.name for entry in self.graph.output}
        for node in list(self.graph.node):
            node.input[:] = [replaced.get(name, name) for name in node.input]
            redundant = node.op_type == "Cast" and {node.input[0], node.output[0]} <= float_tensors
            if redundant and node.output[0] not in outputs:
                replaced[node.output[0]] = node.input[0]
                self.graph.node.remove(node)

    def _convert(self, node: NodeProto, float_tensors: frozenset[str]) -> None:
        """Appends the node in fp16, or in fp32 if it is one of `fp32_nodes` or part of a norm before its weights."""
        in_norm = "layer_norm" in node.name and not any(name.endswith("layer_norm.weight") for name in node.input)
        in_fp32 = in_norm or "log_probability/" in node.name or node.name in self.fp32_nodes
        dtype = FLOAT if in_fp32 else HALF
        node.input[:] = [self._input(name, dtype) for name in node.input]
        if dtype == HALF:
            _convert_attributes(node)
        for name in node.output:
            if name in float_tensors:
                self.types[name] = dtype
        self.nodes.append(node)

    def _input(self, name: str, dtype: int) -> str:
        """The name of the tensor in the type `dtype`, cast if needed; tensors that were never fp32 are unchanged."""
        if name in self.weights:
            return self._weight(self.weights[name], dtype)
        if self.types.get(name, dtype) == dtype:
            return name
        if name not in self.casts:
            self.casts[name] = f"{name}.{'fp32' if dtype == FLOAT else 'fp16'}"
            self.nodes.append(helper.make_node("Cast", [name], [self.casts[name]], self.casts[name], to=dtype))
        return self.casts[name]

    def _weight(self, tensor: TensorProto, dtype: int) -> str:
        """The name of the weight in the type `dtype`, added to the graph if needed."""
        if tensor.data_type != FLOAT:
            self.used_weights[tensor.name] = tensor
            return tensor.name
        name = f"{tensor.name}.fp32" if dtype == FLOAT else tensor.name
        if name not in self.used_weights:
            array = numpy_helper.to_array(tensor)
            self.used_weights[name] = numpy_helper.from_array(_array_to_fp16(array) if dtype == HALF else array, name)
        return name

    def _set_output_type(self, name: str) -> int:
        """Gives the output `name` its interface type, by a cast if it is computed in the other; returns that type."""
        dtype = self._interface_type(name)
        if self.types[name] != dtype:
            inner = f"{name}.inner"
            for node in self.nodes:
                node.input[:] = [inner if tensor == name else tensor for tensor in node.input]
                node.output[:] = [inner if tensor == name else tensor for tensor in node.output]
            self.nodes.append(helper.make_node("Cast", [inner], [name], inner, to=dtype))
        return dtype


def _convert_attributes(node: NodeProto) -> None:
    """Sets casts to fp32 to fp16, and fp32 tensors in attributes likewise."""
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == FLOAT:
            attribute.i = HALF
        elif attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == FLOAT:
            array = _array_to_fp16(numpy_helper.to_array(attribute.t))
            attribute.t.CopyFrom(numpy_helper.from_array(array, attribute.t.name))


def _array_to_fp16(array: np.ndarray) -> np.ndarray:
    """The values in fp16; a mask's lowest number becomes that of fp16."""
    return array.clip(-FP16_MAX, FP16_MAX).astype(np.float16)
