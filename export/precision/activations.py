"""Activation ranges: the largest absolute value of each tensor while the fp32 graphs run on real documents."""

import copy
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export.graphs.dynamic import cache_names
from export.graphs.weights import Graphs, save_graphs
from finetune.reports.progress import track
from precis.bundle.names import DECODER, ENCODER
from precis.runtime import ort

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
    """The activation ranges of the static fp32 `graphs`, by graph.

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
        max_abs: dict[str, dict[str, float]] = {name: {} for name in graphs}
        for ids, row in zip(track(inputs, "activation ranges"), tokens, strict=True):
            length = {"source_length": np.array([len(ids)])}
            encoder_inputs = {"input_ids": np.array([ids]), "source_places": np.arange(len(ids)), **length}
            cross_kv = _run(sessions[ENCODER], encoder_inputs, max_abs[ENCODER])
            sources = [value for name, value in cross_kv.items() if name.startswith("present.")]
            _run_decoder(sessions[DECODER], sources, length, [start, *row[:-1]], max_abs[DECODER])
        return {name: ActivationRange(max_abs[name], _float_tensors(session)) for name, session in sessions.items()}


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
    model = copy.deepcopy(graph)
    outputs = {output.name for output in model.graph.output}
    computed = [name for node in model.graph.node for name in node.output if name and name not in outputs]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in computed)
    return model


def _run(session: ort.InferenceSession, inputs: Tensors, max_abs: dict[str, float]) -> Tensors:
    """Runs the graph, raises `max_abs` to what its outputs reach, and returns them by name."""
    outputs = dict(zip([entry.name for entry in session.get_outputs()], session.run(None, inputs), strict=True))
    for name, value in outputs.items():
        if value.dtype == np.float32 and value.size and not (value < MASK).any():
            max_abs[name] = max(max_abs.get(name, 0.0), float(np.abs(value).max()))
    return outputs


def _run_decoder(
    session: ort.InferenceSession,
    sources: list[np.ndarray],
    length: Tensors,
    tokens: list[int],
    max_abs: dict[str, float],
) -> None:
    """Runs the decoder step by step over `tokens`, with the encoder's keys and values `sources` of one document."""
    steps = len(tokens)
    rows, heads, source_length, d_kv = sources[0].shape
    empty = np.zeros((rows, heads, steps, d_kv), np.float32)
    # Room for `steps` more entries, as the engine gives it.
    padded = iter([np.pad(source, [(0, 0), (0, 0), (0, steps), (0, 0)]) for source in sources])
    names = cache_names("past_key_values", len(sources) // 2)
    caches = {name: empty if ".decoder." in name else next(padded) for name in names}
    fixed = {"own_places": np.arange(steps), "source_places": np.arange(source_length + steps), **length}
    fixed["suppressed_token"] = np.full(rows, -1)
    for step, token in enumerate(tokens):
        step_inputs = {"input_ids": np.array([[token]]), "past_length": np.array([step])}
        outputs = _run(session, fixed | caches | step_inputs, max_abs)
        caches = {
            name: outputs.get(name.replace("past_key_values", "present"), value) for name, value in caches.items()
        }
