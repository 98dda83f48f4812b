"""Activation ranges on real inputs."""

from export.graphs.trace import trace
from export.precision.activations import measure_activations
from export.precision.fp16 import ACTIVATION_LIMITS
from tests.export.support import INPUTS, TOKENS


def test_layers_that_overflow_fp16_are_found(overflowing):
    graphs = trace(overflowing, static=True)
    ranges = measure_activations(graphs, INPUTS, TOKENS, 0)
    assert min(activations.largest()["value"] for activations in ranges.values()) > 65504
    large = {node for name, graph in graphs.items() for node in ranges[name].nodes_above(graph, ACTIVATION_LIMITS[0])}
    assert {"encoder.block.1.layer.1.DenseReluDense.wo", "decoder.block.0.layer.2.DenseReluDense.wo"} <= large
    assert "encoder.block.0.layer.1.DenseReluDense.wo" not in large
