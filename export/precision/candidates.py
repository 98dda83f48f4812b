"""The int8 and fp16 graphs to try for a bundle, each with more nodes in fp32 than the one before.

The export takes the first candidate that passes parity.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from export.graphs.weights import Graphs
from export.precision.activations import ActivationRange
from export.precision.fp16 import ACTIVATION_LIMITS, to_fp16, with_shared_caches
from export.precision.int8 import quantizable_nodes, quantize_graphs
from finetune.errors import UserError
from precis.bundle.names import DECODER, ENCODER

SENSITIVE_NODES = (2, 4, 8, 16, 32, 64)  # how many of the most sensitive nodes the int8 candidates leave in fp32


@dataclass(frozen=True)
class Candidate:
    """Graphs and the names of the nodes that are fp32 in them."""

    graphs: Graphs
    fp32_nodes: list[str]


def int8_candidates(
    graphs: Graphs, patterns: list[str], rank_nodes: Callable[[], list[str]] | None
) -> Iterator[Candidate]:
    """int8 versions of `graphs` (traced with calibration): first with only nodes that match `patterns` in fp32.

    Then with the most sensitive nodes as well, by `rank_nodes()`, which is slow and called only if needed. Without it
    there is one more candidate, whose whole encoder is fp32: of the two graphs it is by far the more sensitive
    (docs/log.md#int8-sensitivity). Raises UserError for a pattern that matches nothing.
    """
    names = {name: quantizable_nodes(graph) for name, graph in graphs.items()}
    fp32_nodes = matching_nodes(patterns, [node for nodes in names.values() for node in nodes])

    def candidate(more: list[str]) -> Candidate:
        nodes = sorted({*fp32_nodes, *more})
        return Candidate(quantize_graphs(graphs, nodes), nodes)

    yield candidate([])
    if rank_nodes is None:
        yield candidate(names[ENCODER])
        return
    ranked = rank_nodes()
    for count in SENSITIVE_NODES:
        yield candidate(ranked[:count])


def fp16_candidates(graphs: Graphs, patterns: list[str], ranges: dict[str, ActivationRange]) -> Iterator[Candidate]:
    """fp16 versions of the static `graphs`, with ever lower limits on the activations of fp16 nodes.

    Nodes that match `patterns` are fp32 as well. Raises UserError for a pattern that matches nothing.
    """
    fp32_nodes = matching_nodes(patterns, [node.name for graph in graphs.values() for node in graph.graph.node])
    for limit in ACTIVATION_LIMITS:
        large = {node for name, graph in graphs.items() for node in ranges[name].nodes_above(graph, limit)}
        nodes = with_shared_caches(graphs[DECODER], fp32_nodes | large)
        yield Candidate(to_fp16(graphs, ranges, nodes), nodes)


def matching_nodes(patterns: list[str], names: list[str]) -> set[str]:
    """The `names` in which one of `patterns` occurs. Raises UserError for a pattern that is invalid or matches none."""
    nodes = set()
    for pattern in patterns:
        try:
            matches = {name for name in names if re.search(pattern, name)}
        except re.error as error:
            raise UserError(
                f"Recipe key export.kept_in_fp32: {pattern!r} is no regular expression: {error}."
            ) from error
        if not matches:
            raise UserError(f"Recipe key export.kept_in_fp32: {pattern!r} matches no layer.")
        nodes |= matches
    return nodes
