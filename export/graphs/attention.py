"""Attention as ONNX Runtime's fused operators com.microsoft.MultiHeadAttention and com.microsoft.GroupQueryAttention.

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
    query: Tensor,
    key: Tensor,
    value: Tensor,
    past_key: Tensor,
    past_value: Tensor,
    last: Tensor,
    total: Tensor,
    bias: Tensor,
    heads: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Causal attention over a KV cache that is updated in place; exported as com.microsoft.GroupQueryAttention.

    `query`, `key` and `value` are (rows, steps, heads * d_kv). The caches are (rows, heads, capacity, d_kv); the
    entries of a row begin at index 0, and the new ones end at index last[row]; `last` is (rows,) int32. `total`, an
    int32 scalar, is the largest last[row] + 1. `bias` is (1 or rows, 1 or heads, steps, total) and is added to the
    scores. Returns the context, (rows, steps, heads * d_kv), and both caches. On CPUs the operator takes any number of
    rows of any lengths, but several steps only for a single row.
    """
    return torch.empty_like(query), past_key.clone(), past_value.clone()


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


def _cached_attention_symbol(g, query, key, value, past_key, past_value, last, total, bias, heads):
    missing = symbolic_helper._optional_input_placeholder_tensor(g)
    num_heads = symbolic_helper._get_const(heads, "i", "heads")
    context, present_key, present_value = g.op(
        "com.microsoft::GroupQueryAttention",
        *(query, key, value, past_key, past_value, last, total),
        *(missing, missing, missing),  # rotary embeddings and position ids, which T5 does not have
        bias,
        num_heads_i=num_heads,
        kv_num_heads_i=num_heads,
        scale_f=1.0,
        outputs=3,
    )
    return context.setType(query.type()), present_key.setType(past_key.type()), present_value.setType(past_value.type())


register_custom_op_symbolic("precis::attention", _attention_symbol, OPSET)
register_custom_op_symbolic("precis::cached_attention", _cached_attention_symbol, OPSET)
register_custom_op_symbolic("precis::quantize_int8", _quantize_int8_symbol, OPSET)
register_custom_op_symbolic("precis::quantize_uint8", _quantize_uint8_symbol, OPSET)
register_custom_op_symbolic("precis::integer_matmul", _integer_matmul_symbol, OPSET)
