"""T5's attention in one fused kernel, which keeps no (batch, heads, queries, keys) tensors for the backward pass.

transformers 4 has no fused attention for T5, which adds a position bias to the scores. If that bias is frozen, as with
LoRA, PyTorch's scaled_dot_product_attention takes it as the mask (FlashAttention, Dao et al. 2022). transformers 5 does
so itself, with a mask for each layer, which autograd saves: as much memory as without the fused kernel.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType

import torch
import transformers
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.mt5.modeling_mt5 import MT5Attention
from transformers.models.t5.modeling_t5 import T5Attention

IS_TRANSFORMERS_5 = int(transformers.__version__.split(".")[0]) >= 5
ATTENTION_CLASSES = (T5Attention, MT5Attention)


@contextmanager
def fused_attention(model: nn.Module) -> Iterator[None]:
    """Inside the block, `model` trains with the fused kernel.

    transformers' own attention still runs outside training, if the position bias is trained, and with dropout on a CPU.
    """
    if IS_TRANSFORMERS_5:
        yield
        return
    attentions = [module for module in model.modules() if isinstance(module, ATTENTION_CLASSES)]
    for module in attentions:
        module.forward = MethodType(_forward, module)
    try:
        yield
    finally:
        for module in attentions:
            del module.forward


def set_dropout(model: nn.Module, rate: float) -> None:
    """Sets the dropout `rate` of the model's own layers; an adapter keeps its own."""
    for name, module in model.named_modules():
        if isinstance(module, ATTENTION_CLASSES):
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
    """As T5Attention.forward: the output, shape (batch, queries, width), and the position bias for the next layers."""
    bias_is_trained = self.has_relative_attention_bias and self.relative_attention_bias.weight.requires_grad
    bias_is_trained |= position_bias is not None and position_bias.requires_grad
    dropout_on_cpu = self.dropout and hidden_states.device.type == "cpu"
    if not self.training or past_key_values is not None or mask is None or bias_is_trained or dropout_on_cpu:
        return type(self).forward(
            self, hidden_states, mask, key_value_states, position_bias, past_key_values=past_key_values, **others
        )

    def heads(states: torch.Tensor) -> torch.Tensor:
        return states.view(len(states), -1, self.n_heads, self.key_value_proj_dim).transpose(1, 2)

    source = hidden_states if key_value_states is None else key_value_states
    queries, keys, values = heads(self.q(hidden_states)), heads(self.k(source)), heads(self.v(source))
    if position_bias is None:
        # In compiled code the decoder's mask is one key too long; T5's own attention shortens it here as well.
        position_bias = mask = mask[..., : keys.shape[2]]
        if self.has_relative_attention_bias:
            length = hidden_states.shape[1]
            position_bias = mask + self.compute_bias(length, length, device=mask.device)
        position_bias = position_bias.to(queries.dtype)
    output = scaled_dot_product_attention(queries, keys, values, position_bias, dropout_p=self.dropout, scale=1.0)
    return self.o(output.transpose(1, 2).flatten(2)), position_bias
