"""Which layers the 8-bit graphs suffer from: each one rounded alone, and how far the model's choices move by it."""

import tempfile
from pathlib import Path

import numpy as np
import onnx

from export.graphs.trace import write_graphs
from export.precision.int8 import quantize_graphs, roundable
from finetune.reports.progress import track
from precis import Engine


def by_damage(
    graphs: dict[str, onnx.ModelProto], merged: Path, seal, inputs: list[list[int]], tokens: list[list[int]]
) -> list[tuple[str, float]]:
    """Names of the graphs' roundable nodes with what rounding each alone does, worst first.

    Measured is the mean divergence (Kullback and Leibler 1951, in nats) of the next token's distribution from the one
    without any rounded weights, `inputs` read and `tokens` fed. `seal(folder)` makes a folder of graphs a bundle.
    """
    names = {name: roundable(graph) for name, graph in graphs.items()}
    every = [node for nodes in names.values() for node in nodes]

    def distribution(kept: set[str]) -> np.ndarray:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            write_graphs(quantize_graphs(graphs, kept), merged, folder)
            seal(folder)
            engine = Engine.load(folder)
            try:
                logits = np.concatenate(engine.teacher_forced_logits(inputs, tokens))
            finally:
                engine.close()
        logits -= logits.max(-1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))

    whole = distribution(set(every))
    chance = np.exp(whole)
    damage = {}
    for node in track(dict.fromkeys(every), "8 bits, layer by layer"):
        damage[node] = float((chance * (whole - distribution(set(every) - {node}))).sum(-1).mean())
    return sorted(damage.items(), key=lambda item: -item[1])
