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
    scale: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Causal attention over a KV cache that is updated in place; exported as com.microsoft.GroupQueryAttention.

    `query`, `key` and `value` are (rows, steps, heads * d_kv). The caches are (rows, heads, capacity, d_kv); the
    entries of a row begin at index 0, and the new ones end at index last[row]; `last` is (rows,) int32. `total`, an
    int32 scalar, is the largest last[row] + 1. `bias` is (1 or rows, 1 or heads, steps, total) and is added to the
    scores. With `scale`, (1,), the caches are int8 and are dequantized by it. Returns the context,
    (rows, steps, heads * d_kv), and both caches. On CPUs the operator takes any number of rows of any lengths, but
    several steps only for a single row.
    """
    return torch.empty_like(query), past_key.clone(), past_value.clone()


@torch.library.custom_op("precis::quantize_unit_scale", mutates_args=())
def quantize_unit_scale(values: Tensor) -> Tensor:
    """Rounds to int8 with scale 1 and zero point 0; exported as one QuantizeLinear instead of three PyTorch steps."""
    return torch.empty_like(values, dtype=torch.int8)


def _quantize_unit_scale_symbol(g, values):
    scale = g.op("Constant", value_t=torch.tensor(1.0))
    zero_point = g.op("Constant", value_t=torch.tensor(0, dtype=torch.int8))
    return g.op("QuantizeLinear", values, scale, zero_point).setType(values.type().with_dtype(torch.int8))


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


def _cached_attention_symbol(g, query, key, value, past_key, past_value, last, total, bias, heads, scale):
    missing = symbolic_helper._optional_input_placeholder_tensor(g)
    num_heads = symbolic_helper._get_const(heads, "i", "heads")
    quantized = not symbolic_helper._is_none(scale)
    cache_type = {"k_quant_type_s": "PER_TENSOR", "v_quant_type_s": "PER_TENSOR", "kv_cache_bit_width_i": 8}
    context, present_key, present_value = g.op(
        "com.microsoft::GroupQueryAttention",
        *(query, key, value, past_key, past_value, last, total),
        *(missing, missing, missing),  # rotary embeddings and position ids, which T5 does not have
        bias,
        *((missing, scale, scale) if quantized else ()),
        num_heads_i=num_heads,
        kv_num_heads_i=num_heads,
        scale_f=1.0,
        **(cache_type if quantized else {}),
        outputs=3,
    )
    return context.setType(query.type()), present_key.setType(past_key.type()), present_value.setType(past_value.type())


register_custom_op_symbolic("precis::attention", _attention_symbol, OPSET)
register_custom_op_symbolic("precis::cached_attention", _cached_attention_symbol, OPSET)
register_custom_op_symbolic("precis::quantize_unit_scale", _quantize_unit_scale_symbol, OPSET)
