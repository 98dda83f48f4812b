"""Graphs in fp16 for GPUs, with the nodes that overflow there kept in fp32 and casts between the two.

T5 was trained in bfloat16, whose range is that of fp32; in fp16, which ends at 65,504, its feed-forward layers overflow
(transformers #4586). So nodes that read or write a number beyond what is safe (`export.activations`) are left as they
are, and so are the norms up to their weights, whose sums of squares transformers takes in fp32, too.
"""

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from export.precision.activations import Activations
from precis.bundle.names import DECODER

LARGEST = 65504.0  # of fp16
LIMITS = (LARGEST / 2, LARGEST / 16, LARGEST / 256)  # documents that were not seen may need more than the largest seen
SIDES = (".decoder.", ".encoder.")  # in the names of caches
FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def with_their_caches(decoder: onnx.ModelProto, kept: Iterable[str]) -> list[str]:
    """`kept` with all attention over the same kind of caches as one of them: own caches, or sources, have one type."""
    kept = set(kept)
    for side in SIDES:
        attention = {node.name for node in decoder.graph.node if any(_is_cache(name, side) for name in node.input)}
        if attention & kept:
            kept |= attention
    return sorted(kept)


def halve(
    graphs: dict[str, onnx.ModelProto], seen: dict[str, Activations], kept: list[str]
) -> dict[str, onnx.ModelProto]:
    """The graphs in fp16, nodes named in `kept` (as `with_their_caches` has them) and norms in fp32; logits are fp32.

    `seen` is what `export.activations.observe` says of the same graphs.
    """
    nodes = [node for node in graphs[DECODER].graph.node if node.name in kept]
    whole = [side for side in SIDES if any(_is_cache(name, side) for node in nodes for name in node.input)]
    return {name: _Halving(graph, seen[name].floats, set(kept), whole).model for name, graph in graphs.items()}


def _is_cache(name: str, side: str) -> bool:
    return name.startswith(("past_key_values.", "present.")) and side in name


class _Halving:
    """One graph on its way to fp16; every fp32 tensor has a home, the type in which it is computed."""

    def __init__(self, graph: onnx.ModelProto, floats: frozenset[str], kept: set[str], whole: list[str]) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(graph)
        self.graph, self.kept, self.whole = self.model.graph, kept, whole
        self.home: dict[str, int] = {}
        self.casts: dict[str, str] = {}
        self.nodes: list[NodeProto] = []
        self.weights = self._weights()
        self.used: dict[str, TensorProto] = {}
        self._skip_casts_to_the_same(floats)
        for entry in self.graph.input:
            if entry.type.tensor_type.elem_type == FLOAT:
                self.home[entry.name] = entry.type.tensor_type.elem_type = self._outside(entry.name)
        for node in self.graph.node:
            self._convert(node, floats)
        for entry in self.graph.output:
            if entry.type.tensor_type.elem_type == FLOAT:
                entry.type.tensor_type.elem_type = self._give_out(entry.name)
        for field, content in (("node", self.nodes), ("initializer", self.used.values()), ("value_info", ())):
            self.model.graph.ClearField(field)
            getattr(self.model.graph, field).extend(content)

    def _outside(self, name: str) -> int:
        """The type that a graph's input or output has."""
        return FLOAT if name == "logits" or any(side in name for side in self.whole) else HALF

    def _weights(self) -> dict[str, TensorProto]:
        """Initializers, and constants that stand in nodes, which are taken out."""
        weights = {tensor.name: tensor for tensor in self.graph.initializer}
        for node in [node for node in self.graph.node if node.op_type == "Constant"]:
            value = next((each.t for each in node.attribute if each.name == "value"), None)
            if value is not None:
                weights[node.output[0]] = numpy_helper.from_array(numpy_helper.to_array(value), node.output[0])
                self.graph.node.remove(node)
        return weights

    def _skip_casts_to_the_same(self, floats: frozenset[str]) -> None:
        """The tracer writes a cast to fp32 where there is nothing but fp32."""
        same: dict[str, str] = {}
        given = {entry.name for entry in self.graph.output}
        for node in list(self.graph.node):
            node.input[:] = [same.get(name, name) for name in node.input]
            if node.op_type == "Cast" and {node.input[0], node.output[0]} <= floats and node.output[0] not in given:
                same[node.output[0]] = node.input[0]
                self.graph.node.remove(node)

    def _convert(self, node: NodeProto, floats: frozenset[str]) -> None:
        in_norm = "layer_norm" in node.name and not any(name.endswith("layer_norm.weight") for name in node.input)
        kind = FLOAT if in_norm or node.name in self.kept else HALF
        node.input[:] = [self._read(name, kind) for name in node.input]
        if kind == HALF:
            _halve_attributes(node)
        for name in node.output:
            if name in floats:
                self.home[name] = kind
        self.nodes.append(node)

    def _read(self, name: str, kind: int) -> str:
        """The name under which the tensor is there in the type `kind`; tensors of other types are as they were."""
        if name in self.weights:
            return self._weight(self.weights[name], kind)
        if self.home.get(name, kind) == kind:
            return name
        if name not in self.casts:
            self.casts[name] = f"{name}.{'fp32' if kind == FLOAT else 'fp16'}"
            self.nodes.append(helper.make_node("Cast", [name], [self.casts[name]], self.casts[name], to=kind))
        return self.casts[name]

    def _weight(self, tensor: TensorProto, kind: int) -> str:
        if tensor.data_type != FLOAT:
            self.used[tensor.name] = tensor
            return tensor.name
        name = f"{tensor.name}.fp32" if kind == FLOAT else tensor.name
        if name not in self.used:
            array = numpy_helper.to_array(tensor)
            self.used[name] = numpy_helper.from_array(_half(array) if kind == HALF else array, name)
        return name

    def _give_out(self, name: str) -> int:
        """Lets the output `name` have its type; what computes it may have another."""
        kind = self._outside(name)
        if self.home[name] != kind:
            inner = f"{name}.inner"
            for node in self.nodes:
                node.input[:] = [inner if each == name else each for each in node.input]
                node.output[:] = [inner if each == name else each for each in node.output]
            self.nodes.append(helper.make_node("Cast", [inner], [name], inner, to=kind))
        return kind


def _halve_attributes(node: NodeProto) -> None:
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == FLOAT:
            attribute.i = HALF
        elif attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == FLOAT:
            attribute.t.CopyFrom(numpy_helper.from_array(_half(numpy_helper.to_array(attribute.t)), attribute.t.name))


def _half(array: np.ndarray) -> np.ndarray:
    """In fp16; a mask's lowest number becomes fp16's."""
    return array.clip(-LARGEST, LARGEST).astype(np.float16)
