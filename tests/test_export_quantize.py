"""Products of whole numbers against the same arithmetic in numpy."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from engine.bundle import DECODER
from engine.model import ort
from export.onnx_model import trace
from export.quantize import quantize_graphs, round_products
from tests.conftest import tiny_t5

TEXTS = [[5, 90, 300, 17, 1], [7, 7, 2500, 1]]


def product(weights):
    """A graph that multiplies rows (any, any, 16) with `weights`."""
    shapes = [("rows", ["a", "b", 16]), ("out", ["a", "b", weights.shape[1]])]
    given, found = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes)
    node = helper.make_node("MatMul", ["rows", "weights"], ["out"], "layer")
    graph = helper.make_graph([node], "product", [given], [found], [numpy_helper.from_array(weights, "weights")])
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=8)


def run(model, rows):
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"rows": rows})


def test_each_row_and_each_column_has_a_scale_of_its_own():
    draw = np.random.default_rng(3)
    weights = draw.standard_normal((16, 12)).astype(np.float32) * np.geomspace(0.01, 100, 12, dtype=np.float32)
    rows = draw.standard_normal((2, 3, 16)).astype(np.float32) * np.geomspace(0.001, 1000, 6).reshape(2, 3, 1)
    rows = rows.astype(np.float32)
    rows[1, 2] = 0
    by_row = np.maximum(np.abs(rows).max(-1, keepdims=True), 1e-30) / 127
    by_column = np.abs(weights).max(0) / 63
    expected = (np.rint(rows / by_row) @ np.rint(weights / by_column)) * by_row * by_column
    (found,) = run(round_products(product(weights), ()), rows)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    (alone,) = run(round_products(product(weights), ()), rows[1:, 1:2])
    assert (alone == found[1:, 1:2]).all()


def test_sums_of_two_products_fit_16_bits_on_every_processor(tmp_path):
    """AVX2 without VNNI adds two products of an unsigned and a signed byte in 16 bits, and cuts what is larger."""
    graph = quantize_graphs(trace(tiny_t5(tmp_path / "model", "v1.0"), TEXTS))[DECODER].graph
    wholes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    turned = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Transpose"}
    products = [node.input[1] for node in graph.node if node.op_type == "MatMulIntegerToFloat"]
    assert len(products) == 2 * 8 + 1
    for name in products:
        weights = wholes[turned.get(name, name)].astype(np.int32)
        assert np.abs(weights).max() > 60
        assert 2 * 255 * np.abs(weights).max() < 1 << 15
