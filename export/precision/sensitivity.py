"""Sensitivity to int8, node by node: each is quantized alone, and the shift of the token distribution is measured."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from export.graphs.trace import write_graphs
from export.graphs.weights import Graphs
from export.precision.int8 import quantizable_nodes, quantize_graphs
from finetune.evaluation.logit_difference import divergence
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

    The sensitivity of a node is the mean `divergence`, in nats, of the next token's distribution with this node alone
    in int8 from that with none, over `inputs` (token ids of documents) with the decoder fed `tokens`.
    `write_manifest(folder)` makes a folder of graphs a bundle that the engine loads.
    """
    nodes = list(dict.fromkeys(name for graph in graphs.values() for name in quantizable_nodes(graph)))

    def logits(fp32_nodes: set[str]) -> np.ndarray:
        """(steps of all documents, vocabulary)"""
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            write_graphs(quantize_graphs(graphs, fp32_nodes), model_folder, folder)
            write_manifest(folder)
            engine = Engine.load(folder)
            try:
                return np.concatenate(engine.teacher_forced_logits(inputs, tokens))
            finally:
                engine.close()

    expected = logits(set(nodes))
    sensitivity = {
        node: float(divergence(expected, logits(set(nodes) - {node})).mean())
        for node in track(nodes, "int8 sensitivity by node")
    }
    return sorted(sensitivity.items(), key=lambda item: -item[1])
