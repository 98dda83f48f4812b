"""Attention as ONNX Runtime's own fused operators, for tracing: what PyTorch computes here, the exporter writes as one.

T5's scores are not scaled (Raffel et al. 2020), so both operators get a scale of 1.
"""

import torch
from torch.onnx import register_custom_op_symbolic, symbolic_helper

OPSET = 17


@torch.library.custom_op("precis::attention", mutates_args=())
def attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor, heads: int
) -> torch.Tensor:
    """Full attention: query, key, value (rows, length, heads x d_kv), bias (1 or rows, heads, length,
    length). Written as com.microsoft.MultiHeadAttention.
    """
    query, key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2).contiguous() for part in (query, key, value))
    mixed = (query @ key.mT + bias).softmax(-1) @ value
    return mixed.transpose(1, 2).flatten(2)


@torch.library.custom_op("precis::cached_attention", mutates_args=())
def cached_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    past_key: torch.Tensor,
    past_value: torch.Tensor,
    last: torch.Tensor,
    total: torch.Tensor,
    bias: torch.Tensor,
    heads: int,
    scale: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Causal attention over a cache that is written in place: query, key, value (rows, steps, heads x d_kv).

    Caches are (rows, heads, capacity, d_kv), row r's entries beginning at 0; the new ones become entries up to
    last[r], last (rows,) int32. total, int32, is the largest last + 1; bias is (rows or 1, heads or 1, steps, total).
    Where `scale` (1,) is given the caches are int8 and hold multiples of it. Returns the mixed values
    (rows, steps, heads x d_kv) and the caches. Written as com.microsoft.GroupQueryAttention, which on CPUs takes any
    number of rows and lengths, but several steps only of one row.
    """
    if scale is not None:
        mixed, *caches = cached_attention(
            query, key, value, past_key * scale, past_value * scale, last, total, bias, heads, None
        )
        return mixed, *((cache / scale).round().clamp(-128, 127).to(torch.int8) for cache in caches)
    rows, steps, _ = query.shape
    query, key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value))
    past_key, past_value = past_key.clone(), past_value.clone()
    length = int(total)
    mixed = torch.empty_like(query)
    for row in range(rows):
        end = int(last[row]) + 1
        past_key[row, :, end - steps : end] = key[row]
        past_value[row, :, end - steps : end] = value[row]
        place = torch.arange(length)
        ahead = place[None, :] > torch.arange(end - steps, end)[:, None]
        scores = query[row] @ past_key[row, :, :length].mT + bias[row if len(bias) > 1 else 0]
        mixed[row] = scores.masked_fill(ahead, -torch.inf).softmax(-1) @ past_value[row, :, :length]
    return mixed.transpose(1, 2).flatten(2), past_key, past_value


@torch.library.custom_op("precis::whole", mutates_args=())
def whole(values: torch.Tensor) -> torch.Tensor:
    """Nearest whole numbers in int8. Written as one QuantizeLinear, where PyTorch's own steps would be three."""
    return values.round().clamp(-128, 127).to(torch.int8)


def _whole_symbol(g, values):
    one, zero = g.op("Constant", value_t=torch.tensor(1.0)), g.op("Constant", value_t=torch.tensor(0, dtype=torch.int8))
    kind = values.type().with_dtype(torch.int8)
    return g.op("QuantizeLinear", values, one, zero).setType(kind)


def _attention_symbol(g, query, key, value, bias, heads):
    missing = symbolic_helper._optional_input_placeholder_tensor(g)
    return g.op(
        "com.microsoft::MultiHeadAttention",
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
    count = symbolic_helper._get_const(heads, "i", "heads")
    quantized = not symbolic_helper._is_none(scale)
    kind = {"k_quant_type_s": "PER_TENSOR", "v_quant_type_s": "PER_TENSOR", "kv_cache_bit_width_i": 8}
    mixed, present_key, present_value = g.op(
        "com.microsoft::GroupQueryAttention",
        *(query, key, value, past_key, past_value, last, total),
        *(missing, missing, missing),  # of rotary positions
        bias,
        *((missing, scale, scale) if quantized else ()),
        num_heads_i=count,
        kv_num_heads_i=count,
        scale_f=1.0,
        **(kind if quantized else {}),
        outputs=3,
    )
    return mixed.setType(query.type()), present_key.setType(past_key.type()), present_value.setType(past_value.type())


register_custom_op_symbolic("precis::attention", _attention_symbol, OPSET)
register_custom_op_symbolic("precis::cached_attention", _cached_attention_symbol, OPSET)
register_custom_op_symbolic("precis::whole", _whole_symbol, OPSET)
