"""Sensitivity to int8, node by node: each is quantized alone, and the shift of the token distribution is measured."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from export.graphs.trace import write_graphs
from export.graphs.weights import Graphs
from export.precision.int8 import quantizable_nodes, quantize_graphs
from finetune.reports.progress import track
from precis import Engine


def rank_by_sensitivity(
    graphs: Graphs,
    model_folder: Path,
    write_manifest: Callable[[Path], None],
    inputs: list[list[int]],
    tokens: list[list[int]],
) -> list[tuple[str, float]]:
    """The names of the quantizable nodes with their sensitivity, most sensitive first.

    The sensitivity of a node is the mean Kullback-Leibler divergence (1951), in nats, of the next token's distribution
    with this node alone in int8 from that with none, over `inputs` (token ids of documents) with the decoder fed
    `tokens`. `write_manifest(folder)` makes a folder of graphs a bundle that the engine loads.
    """
    nodes = list(dict.fromkeys(name for graph in graphs.values() for name in quantizable_nodes(graph)))

    def log_probabilities(fp32_nodes: set[str]) -> np.ndarray:
        """(steps of all documents, vocabulary)"""
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            write_graphs(quantize_graphs(graphs, fp32_nodes), model_folder, folder)
            write_manifest(folder)
            engine = Engine.load(folder)
            try:
                logits = np.concatenate(engine.teacher_forced_logits(inputs, tokens))
            finally:
                engine.close()
        logits -= logits.max(-1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))

    expected = log_probabilities(set(nodes))
    probabilities = np.exp(expected)
    sensitivity = {}
    for node in track(nodes, "int8 sensitivity by node"):
        difference = expected - log_probabilities(set(nodes) - {node})
        sensitivity[node] = float((probabilities * difference).sum(-1).mean())
    return sorted(sensitivity.items(), key=lambda item: -item[1])
