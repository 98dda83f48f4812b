"""int8 attention against the same arithmetic in numpy."""

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from export.precision.int8_attention import quantize_attention

HEADS, SIZE = 3, 8


def attention():
    """A graph with one attention node, unscaled as T5's."""
    shapes = [(name, [1, "length", HEADS * SIZE]) for name in ("query", "key", "value", "context")]
    query, key, value, context = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes
    )
    bias = helper.make_tensor_value_info("bias", TensorProto.FLOAT, [1, HEADS, "length", "length"])
    inputs = ["query", "key", "value", "", "", "bias"]
    settings = {"num_heads": HEADS, "scale": 1.0, "domain": "com.microsoft"}
    node = helper.make_node("MultiHeadAttention", inputs, ["context"], "layer", **settings)
    graph = helper.make_graph([node], "attention", [query, key, value, bias], [context])
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=8)


def attend(model, query, key, value, bias):
    inputs = {"query": query, "key": key, "value": value, "bias": bias}
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def random_inputs(length, strength):
    rng = np.random.default_rng(length)
    parts = [rng.standard_normal((1, length, HEADS * SIZE)).astype(np.float32) * strength for _ in range(3)]
    return *parts, rng.standard_normal((1, HEADS, length, length)).astype(np.float32)


def numpy_attention(query, key, value, bias):
    """Queries in 8 bits, keys and values in 7, by one scale each; probabilities in 8 bits by their row's largest."""
    scales = [np.float32(np.abs(part).max() / most) for part, most in ((query, 127), (key, 63), (value, 63))]
    quantized = [np.rint(part / scale) for part, scale in zip((query, key, value), scales, strict=True)]
    query, key, value = (part.reshape(-1, HEADS, SIZE).swapaxes(0, 1).astype(np.float64) for part in quantized)
    scores = query @ key.swapaxes(1, 2) * scales[0] * scales[1] + bias[0]
    probabilities = np.exp(scores - scores.max(-1, keepdims=True))
    probabilities /= probabilities.sum(-1, keepdims=True)
    step = probabilities.max(-1, keepdims=True) / 255
    context = np.rint(probabilities / step) @ value * step * scales[2]
    return context.swapaxes(0, 1).reshape(1, -1, HEADS * SIZE)


@pytest.mark.parametrize(("length", "strength"), [(1, 1.0), (7, 2.0), (150, 0.5), (700, 0.01)])
def test_int8_attention_equals_the_same_arithmetic_in_numpy(length, strength):
    """Also where it is spread so thinly over many tokens that no probability comes near a 255th."""
    parts = random_inputs(length, strength)
    int8 = quantize_attention(attention(), ())
    assert [node.op_type for node in int8.graph.node].count("MatMulIntegerToFloat") == 2
    actual, expected = attend(int8, *parts), numpy_attention(*parts)
    largest = np.abs(parts[2]).max()
    # A probability that lies between two steps may be rounded either way.
    np.testing.assert_allclose(actual, expected, atol=largest / 255 / 10)
    assert np.abs(actual - expected).mean() < largest * 1e-5
    exact = attend(attention(), *parts)
    assert np.corrcoef(actual.ravel(), exact.ravel())[0, 1] > 0.998


def test_attention_over_zeros_is_zero():
    query, key, value, bias = random_inputs(5, 1.0)
    assert not attend(quantize_attention(attention(), ()), query, key, np.zeros_like(value), bias).any()
    actual = attend(quantize_attention(attention(), ()), np.zeros_like(query), np.zeros_like(key), value, bias)
    np.testing.assert_allclose(actual, numpy_attention(query * 0 + 1e-30, key * 0 + 1e-30, value, bias), atol=1e-3)


def test_attention_kept_in_fp32_is_unchanged():
    assert [node.op_type for node in quantize_attention(attention(), {"layer"}).graph.node] == ["MultiHeadAttention"]
