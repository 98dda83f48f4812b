"""Graphs in fp16 for GPUs: what overflows there on real inputs stays in fp32.

T5 was trained in bfloat16, whose range is that of fp32; in fp16, which ends at 65,504, its feed-forward layers overflow
(transformers #4586). So the fp32 graphs are run with every tensor laid open, and nodes that read or write a number
beyond what is safe are left as they are.
"""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from engine.bundle import DECODER, ENCODER
from engine.model import ort
from export.graphs import cache_names
from export.weights import save_graphs
from finetune.progress import track

LARGEST = 65504.0  # of fp16
LIMITS = (LARGEST / 2, LARGEST / 16, LARGEST / 256)  # documents that were not seen may need more than the largest seen
MASK = -1e30
NORM = ["Pow", "ReduceMean", "Sqrt"]  # a sum of squares of the whole state: transformers takes it in fp32, too


@dataclass(frozen=True)
class Activations:
    """The largest absolute value of each tensor of a graph, over real inputs."""

    largest: dict[str, float]

    def most(self) -> dict[str, float | str]:
        """The largest of all, and the tensor that has it."""
        tensor = max(self.largest, key=self.largest.__getitem__)
        return {"value": self.largest[tensor], "tensor": tensor}

    def beyond(self, graph: onnx.ModelProto, limit: float) -> list[str]:
        """Names of the nodes that read or write a value over `limit`."""
        large = {name for name, value in self.largest.items() if not value <= limit}
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
            given = _run(sessions[ENCODER], {"input_ids": np.array([ids])}, found[ENCODER])
            sources = [given[name] for name in given if name.startswith("present.")]
            _run(sessions[DECODER], _decoder_inputs(sources, [start, *fed[:-1]]), found[DECODER])
    return {name: Activations(largest) for name, largest in found.items()}


def halve(graphs: dict[str, onnx.ModelProto], kept: Iterable[str]) -> dict[str, onnx.ModelProto]:
    """The graphs in fp16, nodes named in `kept` and the norms' sums in fp32; logits are given out in fp32."""
    halved = {}
    for name, graph in graphs.items():
        copy = onnx.ModelProto()
        copy.CopyFrom(graph)
        nodes = {node.name for node in copy.graph.node}
        halved[name] = convert_float_to_float16(
            copy,
            min_positive_val=1e-7,
            max_finite_val=LARGEST,
            keep_io_types=["logits"],
            op_block_list=NORM,
            node_block_list=sorted(nodes & set(kept)),
            disable_shape_infer=True,
        )
    return halved


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
        # A mask's lowest number stands for "no"; fp16 has its own.
        if value.dtype == np.float32 and value.size and not (value < MASK).any():
            found[name] = max(found.get(name, 0.0), float(np.abs(value).max()))
    return values


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
