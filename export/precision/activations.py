"""The numbers that pass through the fp32 graphs on real inputs: how large each tensor gets, and which nodes see it."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export.graphs.dynamic import cache_names
from export.graphs.static import is_fixed
from export.graphs.weights import save_graphs
from finetune.reports.progress import track
from precis.bundle.names import DECODER, ENCODER
from precis.runtime import ort

MASK = -1e30  # a lower number stands for "no"; every precision has its own


@dataclass(frozen=True)
class Activations:
    """Of one graph: the largest absolute value of each tensor over real inputs, and the names of all in fp32."""

    largest: dict[str, float]
    floats: frozenset[str]

    def most(self) -> dict[str, float | str]:
        """The largest of all, and the tensor that has it."""
        tensor = max(self.largest, key=self.largest.__getitem__)
        return {"value": self.largest[tensor], "tensor": tensor}

    def beyond(self, graph: onnx.ModelProto, limit: float) -> list[str]:
        """Names of the nodes that read or write a value over `limit`, weights among them."""
        large = {name for name, value in self.largest.items() if not value <= limit}
        large |= {tensor.name for tensor in graph.graph.initializer if _largest_weight(tensor) > limit}
        return [node.name for node in graph.graph.node if large & {*node.input, *node.output}]


def observe(
    graphs: dict[str, onnx.ModelProto], inputs: list[list[int]], tokens: list[list[int]], start: int
) -> dict[str, Activations]:
    """Runs the fp32 `graphs` on `inputs` (token ids) with the decoder fed `tokens` after `start`."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        save_graphs({name: _opened(graph) for name, graph in graphs.items()}, folder)
        options = ort.SessionOptions()
        # Fusions would do away with tensors that other graphs, or the CUDA provider, have.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        sessions = {
            name: ort.InferenceSession(folder / name, options, providers=["CPUExecutionProvider"]) for name in graphs
        }
        found: dict[str, dict[str, float]] = {name: {} for name in graphs}
        for ids, fed in zip(track(inputs, "largest activations"), tokens, strict=True):
            fixed = is_fixed(graphs[DECODER])
            whole = {"source_length": np.array([len(ids)]), "source_places": np.arange(len(ids))} if fixed else {}
            given = _run(sessions[ENCODER], {"input_ids": np.array([ids]), **whole}, found[ENCODER])
            sources = [given[name] for name in given if name.startswith("present.")]
            inputs = _decoder_inputs(sources, [start, *fed[:-1]])
            (_run_by_step if fixed else _run)(sessions[DECODER], inputs, found[DECODER])
        return {name: Activations(found[name], _floats(session)) for name, session in sessions.items()}


def _floats(session: ort.InferenceSession) -> frozenset[str]:
    entries = [*session.get_inputs(), *session.get_outputs()]
    return frozenset(entry.name for entry in entries if entry.type == "tensor(float)")


def _largest_weight(tensor: onnx.TensorProto) -> float:
    if tensor.data_type != onnx.TensorProto.FLOAT:
        return 0.0
    weight = numpy_helper.to_array(tensor)
    return float(np.abs(weight[weight > MASK]).max(initial=0.0))


def _opened(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that gives out every tensor it computes."""
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    known = {output.name for output in copy.graph.output}
    for node in copy.graph.node:
        for name in node.output:
            if name and name not in known:
                copy.graph.output.append(helper.make_empty_tensor_value_info(name))
    return copy


def _run(session: ort.InferenceSession, feeds: dict[str, np.ndarray], found: dict[str, float]) -> dict[str, np.ndarray]:
    values = dict(zip([entry.name for entry in session.get_outputs()], session.run(None, feeds), strict=True))
    for name, value in values.items():
        if value.dtype == np.float32 and value.size and not (value < MASK).any():
            found[name] = max(found.get(name, 0.0), float(np.abs(value).max()))
    return values


def _run_by_step(session: ort.InferenceSession, inputs: dict[str, np.ndarray], found: dict[str, float]) -> None:
    """One row's steps one after another, for a decoder that takes no more at once."""
    caches = {name: value for name, value in inputs.items() if name.startswith("past_key_values.")}
    for side, name in ((".decoder.", "own_places"), (".encoder.", "source_places")):
        room = next(value.shape[2] for cache, value in caches.items() if side in cache)
        inputs = inputs | {name: np.arange(room)}
    inputs["source_length"] = inputs["source_length"].astype(np.int64)
    for step, token in enumerate(inputs["input_ids"][0]):
        values = _run(
            session, inputs | caches | {"input_ids": np.array([[token]]), "past_length": np.array([step])}, found
        )
        caches = {name: values.get(name.replace("past_key_values", "present"), value) for name, value in caches.items()}


def _decoder_inputs(sources: list[np.ndarray], fed: list[int]) -> dict[str, np.ndarray]:
    """All of one row's steps at once, its own caches empty."""
    steps = len(fed)
    room = [(0, 0), (0, 0), (0, steps), (0, 0)]
    rows, heads, _, width = sources[0].shape
    own = np.zeros((rows, heads, steps, width), np.float32)
    layers = len(sources) // 2
    names = cache_names("past_key_values", layers)
    crosses = iter(sources)
    caches = {name: own if ".decoder." in name else np.pad(next(crosses), room) for name in names}
    return {
        "input_ids": np.array([fed]),
        "past_length": np.zeros(1, np.int32),
        "source_length": np.array([sources[0].shape[2]], np.int32),
        **caches,
    }
