"""The two graphs that are served, as PyTorch modules around a T5's own layers, and how Optimum is to export them.

The encoder reads one text, unpadded, and gives what the decoder needs of it: keys and values of every layer's
cross-attention. The decoder takes one or more steps for rows of unlike age and length: the caches are the caller's
buffers, left-aligned, each row as full as it is, and are written in place. So rows join, leave and grow without
anything being padded, masked or copied, and a row's numbers do not depend on its company.
"""

from typing import Any

import torch
from optimum.exporters.onnx import OnnxConfig
from optimum.utils import NormalizedConfig
from torch import nn
from transformers import PretrainedConfig, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Attention

from export.graphs.attention import attention, cached_attention, whole


def distance_table(relative: T5Attention) -> torch.Tensor:
    """T5's learned position biases by distance, for the decoder (0, 1, ... back) or the encoder (-n ... n): (n, heads).

    T5 puts all distances from `relative_attention_max_distance` on into its last bucket, so the table may end there.
    """
    far = relative.relative_attention_max_distance
    places = -torch.arange(far + 1) if relative.is_decoder else torch.arange(-far, far + 1)
    buckets = relative._relative_position_bucket(
        places,
        bidirectional=not relative.is_decoder,
        num_buckets=relative.relative_attention_num_buckets,
        max_distance=far,
    )
    return relative.relative_attention_bias.weight.detach()[buckets]


class EncoderGraph(nn.Module):
    """input_ids (1, length) to `present.N.encoder.key` and `.value`, each (1, heads, length, d_kv).

    With `rounded` they are whole numbers in int8, which is for a model that `export.quantize.scale_sources` has seen.
    """

    def __init__(self, model: T5ForConditionalGeneration, rounded: bool = False) -> None:
        super().__init__()
        self.rounded = rounded
        self.config, self.stack = model.config, model.encoder
        self.heads = model.config.num_heads
        self.cross = nn.ModuleList(
            getattr(block.layer[1].EncDecAttention, part) for block in model.decoder.block for part in ("k", "v")
        )
        self.register_buffer("table", distance_table(model.encoder.block[0].layer[0].SelfAttention))

    def forward(self, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        places = torch.arange(input_ids.shape[1])
        far = (len(self.table) - 1) // 2
        distances = (places[None, :] - places[:, None]).clamp(-far, far) + far
        return self._read(input_ids, self.table[distances].permute(2, 0, 1)[None])

    def _read(self, input_ids: torch.Tensor, bias: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = self.stack.embed_tokens(input_ids)
        for block in self.stack.block:
            own, forward = block.layer[0], block.layer[-1]
            normed, part = own.layer_norm(hidden), own.SelfAttention
            hidden = hidden + part.o(attention(part.q(normed), part.k(normed), part.v(normed), bias, self.heads))
            hidden = hidden + forward.DenseReluDense(forward.layer_norm(hidden))
        hidden = self.stack.final_layer_norm(hidden)
        caches = [project(hidden) for project in self.cross]
        if self.rounded:
            caches = [whole(cache) for cache in caches]
        caches = [cache.unflatten(-1, (self.heads, -1)).transpose(1, 2) for cache in caches]
        return dict(zip(cache_names("present", len(caches) // 2, ("encoder",)), caches, strict=True))


class DecoderGraph(nn.Module):
    """Steps of the decoder: logits (rows, steps, vocabulary) of input_ids (rows, steps), and caches one step fuller.

    `past_length` and `source_length` (rows,) int32 tell how full each row's own cache and its source's are. Both kinds
    of caches have room for `steps` entries more than they hold. More than one step at once is for one row alone. With
    `rounded` the sources' are int8, as the encoder's graph has them.
    """

    def __init__(self, model: T5ForConditionalGeneration, rounded: bool = False) -> None:
        super().__init__()
        self.config, self.stack, self.lm_head = model.config, model.decoder, model.lm_head
        self.register_buffer("unit", torch.ones(1) if rounded else None)
        self.heads = model.config.num_heads
        self.scale = model.model_dim**-0.5 if model.config.tie_word_embeddings else 1.0
        self.register_buffer("table", distance_table(model.decoder.block[0].layer[0].SelfAttention))

    def forward(
        self,
        input_ids: torch.Tensor,
        past_length: torch.Tensor,
        source_length: torch.Tensor,
        past: list[torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        """`past` has for each layer its own keys and values and those of its cross-attention, as the outputs have."""
        steps = input_ids.shape[1]
        hidden = self.stack.embed_tokens(input_ids)
        last = past_length + (steps - 1)
        total = last.max() + 1
        new = past_length[:, None] + torch.arange(steps, dtype=torch.int32)
        distances = new[:, :, None] - torch.arange(total.long(), dtype=torch.int32)[None, None, :]
        bias = self.table[distances.clamp(0, len(self.table) - 1).long()].permute(0, 3, 1, 2)

        # The operator wants a new entry for each step. A source has none: what is written past its end is shut out.
        source_last = source_length + (steps - 1)
        source_total = source_last.max() + 1
        beyond = torch.arange(source_total.long(), dtype=torch.int32)[None, :] >= source_length[:, None]
        shut = beyond.float() * torch.finfo(torch.float32).min
        source_bias = shut[:, None, None, :].expand(-1, 1, steps, -1)

        present = []
        for number, block in enumerate(self.stack.block):
            own, cross, forward = block.layer
            normed, part = own.layer_norm(hidden), own.SelfAttention
            fresh = part.q(normed), part.k(normed), part.v(normed)
            mixed, *caches = cached_attention(*fresh, *past[4 * number :][:2], last, total, bias, self.heads, None)
            present += caches
            hidden = hidden + part.o(mixed)
            query = cross.EncDecAttention.q(cross.layer_norm(hidden))
            mixed, *caches = cached_attention(
                *(query, query, query),
                *past[4 * number + 2 :][:2],
                source_last,
                source_total,
                source_bias,
                self.heads,
                self.unit,
            )
            present += caches
            hidden = hidden + cross.EncDecAttention.o(mixed)
            hidden = hidden + forward.DenseReluDense(forward.layer_norm(hidden))
        hidden = self.stack.final_layer_norm(hidden) * self.scale
        names = cache_names("present", len(self.stack.block))
        return {"logits": self.lm_head(hidden), **dict(zip(names, present, strict=True))}


def cache_names(kind: str, layers: int, sides: tuple[str, ...] = ("decoder", "encoder")) -> list[str]:
    """Names of caches as Optimum has them; `kind` is past_key_values or present."""
    return [f"{kind}.{layer}.{side}.{part}" for layer in range(layers) for side in sides for part in ("key", "value")]


class _GraphConfig(OnnxConfig):
    """What Optimum's exporter asks of a graph's description."""

    NORMALIZED_CONFIG_CLASS = NormalizedConfig

    def __init__(self, config: PretrainedConfig, rounded: bool = False) -> None:
        super().__init__(config, task="text2text-generation")
        self._rounded = rounded

    def ordered_inputs(self, model: nn.Module) -> dict[str, dict[int, str]]:
        return self.inputs

    @property
    def values_override(self) -> None:
        return None


class EncoderConfig(_GraphConfig):
    @property
    def inputs(self) -> dict[str, dict[int, str]]:
        return {"input_ids": {1: "length"}}

    @property
    def outputs(self) -> dict[str, dict[int, str]]:
        return {name: {2: "length"} for name in cache_names("present", self._config.num_decoder_layers, ("encoder",))}

    def generate_dummy_inputs(self, framework: str = "pt", **shapes: Any) -> dict[str, Any]:
        return {"input_ids": torch.arange(2, 11)[None]}


class DecoderConfig(_GraphConfig):
    @property
    def inputs(self) -> dict[str, dict[int, str]]:
        caches = cache_names("past_key_values", self._config.num_decoder_layers)
        return {
            "input_ids": {0: "rows", 1: "steps"},
            "past_length": {0: "rows"},
            "source_length": {0: "rows"},
            **{name: {0: "rows", 2: f"{name.split('.')[2]}_capacity"} for name in caches},
        }

    @property
    def outputs(self) -> dict[str, dict[int, str]]:
        caches = {
            name.replace("past_key_values", "present"): axes
            for name, axes in self.inputs.items()
            if name.startswith("past_key_values")
        }
        return {"logits": {0: "rows", 1: "steps"}, **caches}

    def generate_dummy_inputs(self, framework: str = "pt", **shapes: Any) -> dict[str, Any]:
        config = self._config
        shape = (2, config.num_heads, 13, config.d_kv)
        own, source = torch.zeros(shape), torch.zeros(shape, dtype=torch.int8 if self._rounded else torch.float32)
        return {
            "input_ids": torch.tensor([[2], [3]]),
            "past_length": torch.tensor([2, 5], dtype=torch.int32),
            "source_length": torch.tensor([11, 4], dtype=torch.int32),
            "past": [own, own, source, source] * config.num_decoder_layers,
        }
