"""ONNX Runtime's own operators in T5's graphs: attention, integer products, and the sum that a norm follows.

Each custom operator here is exported as one node (ContribOperators.md in ONNX Runtime's documentation). They are only
traced, never computed: their bodies return tensors of the right shapes and types. T5 does not scale its attention
scores (Raffel et al. 2020), so both operators get a scale of 1.
"""

import torch
from torch import Tensor
from torch.onnx import register_custom_op_symbolic, symbolic_helper  # type: ignore[attr-defined]

OPSET = 17
FULL_ATTENTION = "MultiHeadAttention"  # the operator of the encoder's self-attention


@torch.library.custom_op("precis::attention", mutates_args=())
def attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, heads: int) -> Tensor:
    """Full attention over one sequence; exported as com.microsoft.MultiHeadAttention.

    `query`, `key` and `value` are (rows, length, heads * d_kv), `bias` is (1 or rows, heads, length, length) and is
    added to the scores. Returns the context, (rows, length, heads * d_kv).
    """
    return torch.empty_like(query)


@torch.library.custom_op("precis::cached_attention", mutates_args=())
def cached_attention(
    query_key_value: Tensor,
    past_key: Tensor,
    past_value: Tensor,
    last: Tensor,
    total: Tensor,
    bias: Tensor,
    heads: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Causal attention over a KV cache that is updated in place; exported as com.microsoft.GroupQueryAttention.

    `query_key_value` is (rows, steps, 3 * heads * d_kv). The caches are (rows, heads, capacity, d_kv), float32, or int8
    with scale 1; the entries of a row begin at index 0, and the new ones end at index last[row]; `last` is (rows,)
    int32. `total`, an int32 scalar, is the largest last[row] + 1. `bias` is (1 or rows, 1 or heads, steps, total) and
    is added to the scores. Returns the context, (rows, steps, heads * d_kv), and both caches. On CPUs the operator
    takes any number of rows of any lengths, but several steps only for a single row.
    """
    rows, steps, width = query_key_value.shape
    return query_key_value.new_empty((rows, steps, width // 3)), past_key.clone(), past_value.clone()


@torch.library.custom_op("precis::add_and_normalize", mutates_args=())
def add_and_normalize(hidden: Tensor, update: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """T5's layer norm of `hidden` + `update`, and this sum; exported as com.microsoft.SkipSimplifiedLayerNormalization.

    All are (rows, d_model) but `weight` (d_model,).
    """
    return torch.empty_like(hidden), torch.empty_like(hidden)


@torch.library.custom_op("precis::quantize_int8", mutates_args=())
def quantize_int8(values: Tensor) -> Tensor:
    """Rounds to int8 with scale 1 and zero point 0; exported as one QuantizeLinear instead of three PyTorch steps."""
    return torch.empty_like(values, dtype=torch.int8)


@torch.library.custom_op("precis::quantize_uint8", mutates_args=())
def quantize_uint8(values: Tensor, scale: float, zero_point: int) -> Tensor:
    """Rounds `values` / `scale` + `zero_point` to uint8; exported as QuantizeLinear."""
    return torch.empty_like(values, dtype=torch.uint8)


@torch.library.custom_op("precis::integer_matmul", mutates_args=())
def integer_matmul(left: Tensor, right: Tensor, scale: float, zero_point: int) -> Tensor:
    """`scale` * (`left` - `zero_point`) @ `right`, in float32; exported as com.microsoft.MatMulIntegerToFloat.

    `left` is uint8 (..., n, inner), `right` int8 (..., inner, m). CPUs without VNNI add two products in 16 bits, so
    one of the two may use 7 bits only.
    """
    return left.new_empty((*left.shape[:-1], right.shape[-1]), dtype=torch.float32)


def _quantize_int8_symbol(g, values):
    scale, zero_point = _constant(g, 1.0, torch.float32), _constant(g, 0, torch.int8)
    return g.op("QuantizeLinear", values, scale, zero_point).setType(values.type().with_dtype(torch.int8))


def _quantize_uint8_symbol(g, values, scale, zero_point):
    scale, zero_point = _numbers(scale, zero_point)
    inputs = values, _constant(g, scale, torch.float32), _constant(g, zero_point, torch.uint8)
    return g.op("QuantizeLinear", *inputs).setType(values.type().with_dtype(torch.uint8))


def _integer_matmul_symbol(g, left, right, scale, zero_point):
    scale, zero_point = _numbers(scale, zero_point)
    scales = _constant(g, scale, torch.float32), _constant(g, 1.0, torch.float32)
    product = g.op("com.microsoft::MatMulIntegerToFloat", left, right, *scales, _constant(g, zero_point, torch.uint8))
    return product.setType(left.type().with_dtype(torch.float32).with_sizes([None] * left.type().dim()))


def _numbers(scale, zero_point) -> tuple[float, int]:
    return symbolic_helper._get_const(scale, "f", "scale"), symbolic_helper._get_const(zero_point, "i", "zero_point")


def _constant(g, value, dtype: torch.dtype):
    return g.op("Constant", value_t=torch.tensor(value, dtype=dtype))


def _attention_symbol(g, query, key, value, bias, heads):
    missing = symbolic_helper._optional_input_placeholder_tensor(g)
    return g.op(
        f"com.microsoft::{FULL_ATTENTION}",
        query,
        key,
        value,
        missing,
        missing,
        bias,
        num_heads_i=symbolic_helper._get_const(heads, "i", "heads"),
        scale_f=1.0,
    ).setType(query.type())


def _cached_attention_symbol(g, query_key_value, past_key, past_value, last, total, bias, heads):
    missing = symbolic_helper._optional_input_placeholder_tensor(g)
    num_heads = symbolic_helper._get_const(heads, "i", "heads")
    scales, quantization = [], {}
    if past_key.type().dtype() == torch.int8:
        scales = [missing, *(_constant(g, [1.0], torch.float32) for _ in range(2))]  # no sinks; of keys and values
        quantization = {"k_quant_type_s": "PER_TENSOR", "v_quant_type_s": "PER_TENSOR", "kv_cache_bit_width_i": 8}
    context, present_key, present_value = g.op(
        "com.microsoft::GroupQueryAttention",
        *(query_key_value, missing, missing, past_key, past_value, last, total),
        *(missing, missing, missing),  # rotary embeddings and position ids, which T5 does not have
        bias,
        *scales,
        num_heads_i=num_heads,
        kv_num_heads_i=num_heads,
        scale_f=1.0,
        **quantization,
        outputs=3,
    )
    context.setType(query_key_value.type().with_sizes([None] * 3))
    return context, present_key.setType(past_key.type()), present_value.setType(past_value.type())


def _add_and_normalize_symbol(g, hidden, update, weight, epsilon):
    normed, _, _, total = g.op(
        "com.microsoft::SkipSimplifiedLayerNormalization",
        *(hidden, update, weight),
        epsilon_f=symbolic_helper._get_const(epsilon, "f", "epsilon"),
        outputs=4,
    )
    return normed.setType(hidden.type()), total.setType(hidden.type())


register_custom_op_symbolic("precis::attention", _attention_symbol, OPSET)
register_custom_op_symbolic("precis::cached_attention", _cached_attention_symbol, OPSET)
register_custom_op_symbolic("precis::add_and_normalize", _add_and_normalize_symbol, OPSET)
register_custom_op_symbolic("precis::quantize_int8", _quantize_int8_symbol, OPSET)
register_custom_op_symbolic("precis::quantize_uint8", _quantize_uint8_symbol, OPSET)
register_custom_op_symbolic("precis::integer_matmul", _integer_matmul_symbol, OPSET)
