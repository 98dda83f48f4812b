"""fp16 graphs: what overflows stays in fp32, and the rest is fp16."""

import numpy as np
import onnx
import pytest

from export.graphs.trace import trace
from export.precision.activations import measure_activations
from export.precision.fp16 import ACTIVATION_LIMITS, with_shared_caches
from precis.bundle.names import DECODER, ENCODER
from tests.export.support import INPUTS, TOKENS, engine_logits, torch_logits, write_fp16


def overflowing_nodes(graphs):
    ranges = measure_activations(graphs, INPUTS, TOKENS, 0)
    return [node for name, graph in graphs.items() for node in ranges[name].nodes_above(graph, ACTIVATION_LIMITS[0])]


def test_overflowing_layers_stay_in_fp32_and_the_rest_is_fp16(overflowing, tmp_path):
    graphs, expected = trace(overflowing, static=True), torch_logits(overflowing)
    all_fp16 = engine_logits(write_fp16(graphs, [], overflowing, tmp_path / "all"))
    assert not np.abs(all_fp16 - expected).max() < 0.1 * np.abs(expected).max()
    folder = write_fp16(graphs, overflowing_nodes(graphs), overflowing, tmp_path / "some")
    logits = engine_logits(folder)
    assert np.isfinite(logits).all()
    assert 0 < np.abs(logits - expected).max() < 0.01 * np.abs(expected).max()
    for name, layer, other in (
        (ENCODER, "encoder.block.1.layer.1.DenseReluDense.wo", "encoder.block.0.layer.1.DenseReluDense.wo"),
        (DECODER, "decoder.block.0.layer.2.DenseReluDense.wo", "decoder.block.1.layer.2.DenseReluDense.wo"),
    ):
        graph = onnx.load(folder / name).graph
        types = {tensor.name: tensor.data_type for tensor in graph.initializer}
        read = {node.name: types.get(node.input[1]) for node in graph.node if node.op_type == "MatMul"}
        assert (read[layer], read[other]) == (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


@pytest.mark.parametrize("side", ["decoder", "encoder"])
def test_attention_in_fp32_makes_all_caches_of_its_side_fp32(overflowing, tmp_path, side):
    """The engine has one type for all self-attention caches and one for all cross-attention caches."""
    graphs = trace(overflowing, static=True)
    first = next(node for node in graphs[DECODER].graph.node if f"past_key_values.0.{side}.value" in node.input)
    fp32_nodes = with_shared_caches(graphs[DECODER], [*overflowing_nodes(graphs), first.name])
    folder = write_fp16(graphs, fp32_nodes, overflowing, tmp_path / "half")
    graph = onnx.load(folder / DECODER, load_external_data=False).graph
    types = {entry.name: entry.type.tensor_type.elem_type for entry in graph.input}
    for name, dtype in types.items():
        if name.startswith("past_key_values"):
            assert dtype == (onnx.TensorProto.FLOAT if f".{side}." in name else onnx.TensorProto.FLOAT16)
    expected = torch_logits(overflowing)
    assert np.abs(engine_logits(folder) - expected).max() < 0.01 * np.abs(expected).max()
