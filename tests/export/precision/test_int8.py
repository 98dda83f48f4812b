"""Products and attention in whole numbers against the same arithmetic in numpy."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.graphs.trace import trace
from export.precision.int8 import quantize_graphs, round_products
from export.precision.int8_attention import round_attention
from precis.bundle.names import DECODER
from precis.runtime import ort
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


HEADS, SIZE = 3, 8


def attention():
    """A graph of one node of attention without a scale, as T5's."""
    shapes = [(name, [1, "length", HEADS * SIZE]) for name in ("query", "key", "value", "mixed")]
    query, key, value, mixed = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes)
    bias = helper.make_tensor_value_info("bias", TensorProto.FLOAT, [1, HEADS, "length", "length"])
    inputs = ["query", "key", "value", "", "", "bias"]
    settings = {"num_heads": HEADS, "scale": 1.0, "domain": "com.microsoft"}
    node = helper.make_node("MultiHeadAttention", inputs, ["mixed"], "layer", **settings)
    graph = helper.make_graph([node], "attention", [query, key, value, bias], [mixed])
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=8)


def attend(model, query, key, value, bias):
    given = {"query": query, "key": key, "value": value, "bias": bias}
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, given)[0]


def drawn(length, strength):
    draw = np.random.default_rng(length)
    parts = [draw.standard_normal((1, length, HEADS * SIZE)).astype(np.float32) * strength for _ in range(3)]
    return *parts, draw.standard_normal((1, HEADS, length, length)).astype(np.float32)


def by_hand(query, key, value, bias):
    """Queries in 8 bits, keys and values in 7, by one scale each; probabilities in 8 bits by their row's largest."""
    scales = [np.float32(np.abs(part).max() / most) for part, most in ((query, 127), (key, 63), (value, 63))]
    wholes = [np.rint(part / scale) for part, scale in zip((query, key, value), scales, strict=True)]
    query, key, value = (part.reshape(-1, HEADS, SIZE).swapaxes(0, 1).astype(np.float64) for part in wholes)
    scores = query @ key.swapaxes(1, 2) * scales[0] * scales[1] + bias[0]
    chances = np.exp(scores - scores.max(-1, keepdims=True))
    chances /= chances.sum(-1, keepdims=True)
    step = chances.max(-1, keepdims=True) / 255
    mixed = np.rint(chances / step) @ value * step * scales[2]
    return mixed.swapaxes(0, 1).reshape(1, -1, HEADS * SIZE)


@pytest.mark.parametrize(("length", "strength"), [(1, 1.0), (7, 2.0), (150, 0.5), (700, 0.01)])
def test_attention_in_whole_numbers(length, strength):
    """Also where it is spread so thinly over many tokens that no probability comes near a 255th."""
    parts = drawn(length, strength)
    rounded = round_attention(attention(), ())
    assert [node.op_type for node in rounded.graph.node].count("MatMulIntegerToFloat") == 2
    found, expected = attend(rounded, *parts), by_hand(*parts)
    largest = np.abs(parts[2]).max()
    # A probability that lies between two steps may be rounded either way.
    np.testing.assert_allclose(found, expected, atol=largest / 255 / 10)
    assert np.abs(found - expected).mean() < largest * 1e-5
    exact = attend(attention(), *parts)
    assert np.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.998


def test_attention_to_nothing_but_zeros_is_zero():
    query, key, value, bias = drawn(5, 1.0)
    assert not attend(round_attention(attention(), ()), query, key, np.zeros_like(value), bias).any()
    found = attend(round_attention(attention(), ()), np.zeros_like(query), np.zeros_like(key), value, bias)
    np.testing.assert_allclose(found, by_hand(query * 0 + 1e-30, key * 0 + 1e-30, value, bias), atol=1e-3)


def test_attention_that_is_kept_stays_as_it_was():
    assert [node.op_type for node in round_attention(attention(), {"layer"}).graph.node] == ["MultiHeadAttention"]
