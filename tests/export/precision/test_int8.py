"""int8 matrix products against the same arithmetic in numpy, and which nodes are int8."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from export.graphs.trace import trace
from export.precision.int8 import quantize_graphs, quantize_matmuls
from precis.bundle.names import DECODER, ENCODER
from precis.runtime import ort
from tests.export.support import INPUTS
from tests.support.models import tiny_t5


def product(weights):
    """A graph that multiplies rows (any, 16) with `weights`."""
    shapes = [("rows", ["a", 16]), ("out", ["a", weights.shape[1]])]
    rows, out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes)
    node = helper.make_node("MatMul", ["rows", "weights"], ["out"], "layer")
    graph = helper.make_graph([node], "product", [rows], [out], [numpy_helper.from_array(weights, "weights")])
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=8)


def run(model, rows):
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"rows": rows})


def test_each_row_and_each_column_has_its_own_scale():
    draw = np.random.default_rng(3)
    weights = draw.standard_normal((16, 12)).astype(np.float32) * np.geomspace(0.01, 100, 12, dtype=np.float32)
    rows = draw.standard_normal((6, 16)).astype(np.float32) * np.geomspace(0.001, 1000, 6).reshape(6, 1)
    rows = rows.astype(np.float32)
    rows[5] = 0
    by_row = np.maximum(np.abs(rows).max(-1, keepdims=True), 1e-30) / 127
    by_column = np.abs(weights).max(0) / 63
    expected = (np.rint(rows / by_row) @ np.rint(weights / by_column)) * by_row * by_column
    (actual,) = run(quantize_matmuls(product(weights), ()), rows)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    (alone,) = run(quantize_matmuls(product(weights), ()), rows[4:5])
    assert (alone == actual[4:5]).all()


def test_relu_between_two_products_has_the_result_of_both_with_scales():
    draw = np.random.default_rng(5)
    first, second = (draw.standard_normal((16, 16)).astype(np.float32) for _ in range(2))
    rows = draw.standard_normal((5, 16)).astype(np.float32) * np.geomspace(0.001, 1000, 5, dtype=np.float32)[:, None]
    model = product(first)
    model.graph.node[0].output[0] = "hidden"
    model.graph.initializer.append(numpy_helper.from_array(second, "second"))
    model.graph.node.extend(
        [
            helper.make_node("Relu", ["hidden"], ["active"], "relu"),
            helper.make_node("MatMul", ["active", "second"], ["out"], "last"),
        ]
    )
    expected = np.maximum(rows @ first, 0) @ second
    size = np.abs(expected).max(1, keepdims=True)
    for fp32_nodes in ((), ("layer",), ("last",)):
        (actual,) = run(quantize_matmuls(model, fp32_nodes), rows)
        assert (np.abs(actual - expected) < 0.05 * size).all(), fp32_nodes


def test_sums_of_two_products_fit_16_bits_on_every_cpu(tmp_path):
    """AVX2 without VNNI adds two products of an unsigned and a signed byte in 16 bits, and cuts what is larger."""
    graph = quantize_graphs(trace(tiny_t5(tmp_path / "model", "v1.0"), INPUTS))[DECODER].graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    transposed = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Transpose"}
    products = [node.input[1] for node in graph.node if node.op_type == "MatMulIntegerToFloat"]
    # The others are products with the source's keys and values, which are inputs.
    products = [name for name in products if transposed.get(name, name) in values]
    assert len(products) == 2 * 6 + 1
    for name in products:
        weights = values[transposed.get(name, name)].astype(np.int32)
        assert np.abs(weights).max() > 60
        assert 2 * 255 * np.abs(weights).max() < 1 << 15


def test_nodes_named_stay_in_fp32_and_the_rest_is_int8(tmp_path):
    graphs = trace(tiny_t5(tmp_path / "model", "v1.0"), INPUTS)
    fp32_nodes = {"encoder.block.0.layer.0.SelfAttention.o", "lm_head", "shared"}
    operators = {
        name: {node.name.removesuffix("_quant"): node.op_type for node in graph.graph.node}
        for name, graph in quantize_graphs(graphs, fp32_nodes).items()
    }
    assert operators[ENCODER]["encoder.block.0.layer.0.SelfAttention.o"] == "MatMul"
    assert operators[ENCODER]["encoder.block.0.layer.0.SelfAttention.v"] == "MatMulInteger"
    assert operators[DECODER]["lm_head"] == "MatMul"
    assert operators[DECODER]["decoder.block.1.layer.2.DenseReluDense.wo"] == "MatMulIntegerToFloat"
    assert operators[ENCODER]["shared"] == operators[DECODER]["shared"] == "Gather"
