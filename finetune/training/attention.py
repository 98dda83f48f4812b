"""T5's attention in one kernel, without the (batch, heads, queries, keys) tensors that a step would keep.

transformers has no such way for T5, whose attention adds a position bias. Where that bias is frozen, as with LoRA,
PyTorch's scaled_dot_product_attention takes it as a mask (FlashAttention, Dao et al. 2022).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.mt5.modeling_mt5 import MT5Attention
from transformers.models.t5.modeling_t5 import T5Attention

KINDS = (T5Attention, MT5Attention)


@contextmanager
def fused_attention(model: nn.Module) -> Iterator[None]:
    """Inside the block every attention of `model` trains through the fused kernel, if it can.

    It cannot where the position bias learns, nor with dropout on a CPU: those go transformers' way. So does all that is
    no training.
    """
    attentions = [module for module in model.modules() if isinstance(module, KINDS)]
    for module in attentions:
        module.forward = MethodType(_forward, module)
    try:
        yield
    finally:
        for module in attentions:
            del module.forward


def set_dropout(model: nn.Module, rate: float) -> None:
    """Gives the model's own layers this dropout; an adapter keeps its own."""
    for name, module in model.named_modules():
        if isinstance(module, KINDS):
            module.dropout = rate
        elif isinstance(module, nn.Dropout) and "lora_dropout" not in name:
            module.p = rate


def _forward(
    self,
    hidden_states: torch.Tensor,
    mask: torch.Tensor | None = None,
    key_value_states: torch.Tensor | None = None,
    position_bias: torch.Tensor | None = None,
    past_key_values=None,
    **others,
):
    """As T5Attention.forward: (batch, queries, width) and the bias for the layers to come."""
    learns = self.has_relative_attention_bias and self.relative_attention_bias.weight.requires_grad
    learns |= position_bias is not None and position_bias.requires_grad
    dropout_on_cpu = self.dropout and hidden_states.device.type == "cpu"
    if not self.training or past_key_values is not None or mask is None or learns or dropout_on_cpu:
        return type(self).forward(
            self, hidden_states, mask, key_value_states, position_bias, past_key_values=past_key_values, **others
        )

    def heads(states: torch.Tensor) -> torch.Tensor:
        return states.view(len(states), -1, self.n_heads, self.key_value_proj_dim).transpose(1, 2)

    source = hidden_states if key_value_states is None else key_value_states
    queries, keys, values = heads(self.q(hidden_states)), heads(self.k(source)), heads(self.v(source))
    if position_bias is None:
        # In compiled code T5 makes the decoder's mask one key too long, and cuts it here.
        position_bias = mask = mask[..., : keys.shape[2]]
        if self.has_relative_attention_bias:
            length = hidden_states.shape[1]
            position_bias = mask + self.compute_bias(length, length, device=mask.device)
        position_bias = position_bias.to(queries.dtype)
    found = scaled_dot_product_attention(queries, keys, values, position_bias, dropout_p=self.dropout, scale=1.0)
    return self.o(found.transpose(1, 2).flatten(2)), position_bias
