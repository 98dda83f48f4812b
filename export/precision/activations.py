"""Activation ranges: the largest absolute value of each tensor while the fp32 graphs run on real documents."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from export.graphs.dynamic import cache_names
from export.graphs.static import is_static
from export.graphs.weights import Graphs, save_graphs
from finetune.reports.progress import track
from precis.bundle.names import DECODER, ENCODER

MASK = -1e30  # lower values are masks, which every precision has as its own lowest number

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class ActivationRange:
    """One graph's activations over all documents."""

    max_abs: dict[str, float]  # by tensor
    float_tensors: frozenset[str]  # names of all tensors in fp32

    def largest(self) -> dict[str, float | str]:
        """The largest value of all and the name of its tensor, as {"value", "tensor"}."""
        tensor = max(self.max_abs, key=self.max_abs.__getitem__)
        return {"value": self.max_abs[tensor], "tensor": tensor}

    def nodes_above(self, graph: onnx.ModelProto, limit: float) -> list[str]:
        """Names of the nodes that read or write a value above `limit`, weights included."""
        large = {name for name, value in self.max_abs.items() if not value <= limit}
        large |= {tensor.name for tensor in graph.graph.initializer if _max_abs_weight(tensor) > limit}
        return [node.name for node in graph.graph.node if large & {*node.input, *node.output}]


def measure_activations(
    graphs: Graphs, inputs: list[list[int]], tokens: list[list[int]], start: int
) -> dict[str, ActivationRange]:
    """The activation ranges of the fp32 `graphs`, by graph.

    The encoder reads `inputs` (token ids of documents); the decoder is fed the token id `start` and then the `tokens`
    of each document (teacher forcing).
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        save_graphs({name: _with_all_outputs(graph) for name, graph in graphs.items()}, folder)
        options = ort.SessionOptions()
        # Fusions would remove tensors that other graphs, or the CUDA provider, have.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        sessions = {
            name: ort.InferenceSession(folder / name, options, providers=["CPUExecutionProvider"]) for name in graphs
        }
        ranges: dict[str, dict[str, float]] = {name: {} for name in graphs}
        static = is_static(graphs[DECODER])
        for ids, row in zip(track(inputs, "activation ranges"), tokens, strict=True):
            encoder_inputs = {"input_ids": np.array([ids])}
            if static:
                encoder_inputs |= {"source_length": np.array([len(ids)]), "source_places": np.arange(len(ids))}
            outputs = _run(sessions[ENCODER], encoder_inputs, ranges[ENCODER])
            cross_kv = [outputs[name] for name in outputs if name.startswith("present.")]
            decoder_inputs = _decoder_inputs(cross_kv, [start, *row[:-1]])
            run_decoder = _run_step_by_step if static else _run
            run_decoder(sessions[DECODER], decoder_inputs, ranges[DECODER])
        return {name: ActivationRange(ranges[name], _float_tensors(session)) for name, session in sessions.items()}


def _float_tensors(session: ort.InferenceSession) -> frozenset[str]:
    entries = [*session.get_inputs(), *session.get_outputs()]
    return frozenset(entry.name for entry in entries if entry.type == "tensor(float)")


def _max_abs_weight(tensor: onnx.TensorProto) -> float:
    if tensor.data_type != onnx.TensorProto.FLOAT:
        return 0.0
    weight = numpy_helper.to_array(tensor)
    return float(np.abs(weight[weight > MASK]).max(initial=0.0))


def _with_all_outputs(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with every computed tensor among its outputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    outputs = {output.name for output in copy.graph.output}
    for node in copy.graph.node:
        for name in node.output:
            if name and name not in outputs:
                copy.graph.output.append(helper.make_empty_tensor_value_info(name))
    return copy


def _run(session: ort.InferenceSession, inputs: Tensors, max_abs: dict[str, float]) -> Tensors:
    """Runs the graph, raises `max_abs` to what its outputs reach, and returns them by name."""
    outputs = dict(zip([entry.name for entry in session.get_outputs()], session.run(None, inputs), strict=True))
    for name, value in outputs.items():
        if value.dtype == np.float32 and value.size and not (value < MASK).any():
            max_abs[name] = max(max_abs.get(name, 0.0), float(np.abs(value).max()))
    return outputs


def _run_step_by_step(session: ort.InferenceSession, inputs: Tensors, max_abs: dict[str, float]) -> None:
    """Runs a static decoder, which takes one step at a time, over all steps of a row."""
    caches = {name: value for name, value in inputs.items() if name.startswith("past_key_values.")}
    for side, name in ((".decoder.", "own_places"), (".encoder.", "source_places")):
        capacity = next(value.shape[2] for cache, value in caches.items() if side in cache)
        inputs = inputs | {name: np.arange(capacity)}
    inputs["source_length"] = inputs["source_length"].astype(np.int64)
    for step, token in enumerate(inputs["input_ids"][0]):
        step_inputs = {"input_ids": np.array([[token]]), "past_length": np.array([step])}
        outputs = _run(session, inputs | caches | step_inputs, max_abs)
        caches = {
            name: outputs.get(name.replace("past_key_values", "present"), value) for name, value in caches.items()
        }


def _decoder_inputs(cross_kv: list[np.ndarray], tokens: list[int]) -> Tensors:
    """Inputs for all steps of one row at once, with an empty self-attention cache."""
    steps = len(tokens)
    padding = [(0, 0), (0, 0), (0, steps), (0, 0)]
    rows, heads, length, d_kv = cross_kv[0].shape
    empty = np.zeros((rows, heads, steps, d_kv), np.float32)
    sources = iter(cross_kv)
    return {
        "input_ids": np.array([tokens]),
        "past_length": np.zeros(1, np.int32),
        "source_length": np.array([length], np.int32),
        **{
            name: empty if ".decoder." in name else np.pad(next(sources), padding)
            for name in cache_names("past_key_values", len(cross_kv) // 2)
        },
    }
