"""The encoder and decoder graphs for GPUs: a step can be captured as one CUDA graph.

All shapes follow from those of the inputs: how full the caches are decides only values in masks, never a shape. The
decoder takes one step of any number of rows, attends over the whole capacity of its caches, and picks the best token
itself. It uses plain operators that ONNX Runtime has for CUDA in fp32 and fp16; GroupQueryAttention has none in fp32.

Attribute names of the modules (`table`, `masked`, `spread`) become tensor names in the ONNX files.
"""

from typing import Any

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn
from transformers import PretrainedConfig, T5ForConditionalGeneration

from export.graphs.attention import OPSET
from export.graphs.dynamic import Axes, DecoderGraph, EncoderGraph, GraphConfig, cache_axes, cache_names, example_caches
from precis.bundle.names import TOKEN_SCORES

TOPK_LIMIT = 256  # TopK on CUDA is one cheap kernel for up to this many values
MASKED = torch.finfo(torch.float32).min


class StaticEncoderGraph(EncoderGraph):
    """Encodes a padded batch.

    Inputs: `input_ids` (rows, length) int64, with anything after a row's own tokens; `source_length` (rows,) int64;
    `source_places` (length,) int64, the values 0 ... length - 1. Outputs: `present.N.encoder.key` and `.value` for
    each decoder layer N, (rows, heads, length, d_kv) float32; with a sentence ranker also `token_scores`
    (rows, length) float32.
    """

    def forward(  # type: ignore[override]
        self, input_ids: Tensor, source_length: Tensor, source_places: Tensor
    ) -> dict[str, Tensor]:
        """Returns the outputs by name."""
        furthest = (len(self.table) - 1) // 2
        index = _clamp(source_places[None, :] - source_places[:, None], -furthest, furthest) + furthest
        mask = _padding_mask(source_length, source_places)
        return self._encode(input_ids, self.table[index].permute(2, 0, 1)[None] + mask)


class StaticDecoderGraph(DecoderGraph):
    """One decoder step for rows of any age.

    Inputs: `input_ids` (rows, 1) int64; `past_length` and `source_length`, both (rows,) int64, the entries that a row
    has in its self- and cross-attention cache; `suppressed_token` (rows,) int64, or -1; `own_places`
    (decoder_capacity,) and `source_places` (encoder_capacity,), int64, the values 0 ... capacity - 1; the caches
    `past_key_values.N...` as `DecoderGraph` has them. Outputs: `logits` (rows, 1, vocabulary) float32; `best` (rows, 1)
    int64, the token with the largest logit but the suppressed one; `best_log_probability` (rows, 1) float32, among the
    tokens that are not suppressed; of the caches only `present.N.decoder.key` and `.value`.
    """

    masked: Tensor
    spread: Tensor
    tokens: Tensor

    def __init__(self, model: T5ForConditionalGeneration) -> None:
        super().__init__(model)
        # Row 0 stands for the distance -1, that to an entry which is not written yet.
        self.register_buffer("masked", torch.cat([torch.full((1, self.heads), MASKED), self.table]))
        self.log_probability = LargestLogProbability()
        self.register_buffer("spread", torch.zeros(1, self.heads, 1, self.d_kv, dtype=torch.int64))
        self.register_buffer("tokens", torch.arange(self.lm_head.out_features))

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor,
        past_length: Tensor,
        source_length: Tensor,
        suppressed_token: Tensor,
        own_places: Tensor,
        source_places: Tensor,
        past: list[Tensor],
    ) -> dict[str, Tensor]:
        """Returns the outputs by name; `past` holds the caches in the order of `cache_names`."""
        hidden = self.stack.embed_tokens(input_ids)
        position = past_length[:, None]
        distances = _clamp(position - own_places[None, :], -1, len(self.table) - 1)
        bias = self.masked[distances + 1].transpose(1, 2)[:, :, None, :]
        source_bias = _padding_mask(source_length, source_places)
        target = position[:, :, None, None] + self.spread

        present = []
        block: Any
        for number, block in enumerate(self.stack.block):
            self_layer, cross_layer, feed_forward = block.layer
            normed, layer = self_layer.layer_norm(hidden), self_layer.SelfAttention
            query, *new = (self._split_heads(project(normed)) for project in (layer.q, layer.k, layer.v))
            caches = [old.scatter(2, target, entry) for old, entry in zip(past[4 * number :][:2], new, strict=True)]
            present += caches
            hidden = hidden + layer.o(self._attend(query, caches, bias))
            layer = cross_layer.EncDecAttention
            query = self._split_heads(layer.q(cross_layer.layer_norm(hidden)))
            hidden = hidden + layer.o(self._attend(query, past[4 * number + 2 :][:2], source_bias))
            hidden = hidden + feed_forward.DenseReluDense(feed_forward.layer_norm(hidden))
        logits = self.lm_head(self.stack.final_layer_norm(hidden) * self.scale)
        names = cache_names("present", len(self.stack.block), ("decoder",))
        is_suppressed = self.tokens[None, None, :] == suppressed_token[:, None, None]
        allowed = torch.where(is_suppressed, torch.tensor(MASKED), logits)
        best = self._argmax(allowed)
        outputs = {"logits": logits, "best": best, "best_log_probability": self.log_probability(allowed, best)}
        return outputs | dict(zip(names, present, strict=True))

    def _split_heads(self, values: Tensor) -> Tensor:
        """(rows, 1, heads * d_kv) to (rows, heads, 1, d_kv); a single step needs no transpose."""
        return values.reshape(-1, self.heads, 1, self.d_kv)

    def _attend(self, query: Tensor, cache: list[Tensor], bias: Tensor) -> Tensor:
        """The context, (rows, 1, heads * d_kv), of `query` (rows, heads, 1, d_kv) over a whole cache (keys, values)."""
        keys, values = cache
        context = (query @ keys.transpose(2, 3) + bias).softmax(-1) @ values
        return context.reshape(-1, 1, self.heads * self.d_kv)

    def _argmax(self, logits: Tensor) -> Tensor:
        """The first of the largest logits, (rows, 1); in two rounds, since CUDA's TopK is slow on many values."""
        vocabulary = self.lm_head.out_features
        size = next(
            (n for n in range(TOPK_LIMIT, 0, -1) if vocabulary % n == 0 and vocabulary // n <= TOPK_LIMIT), None
        )
        if size is None:
            return logits.reshape(-1, vocabulary).topk(1).indices
        groups = vocabulary // size
        values, indices = logits.reshape(-1, groups, size).topk(1)
        best_group = values.reshape(-1, groups).topk(1).indices
        return best_group * size + indices.reshape(-1, groups).gather(1, best_group)


class LargestLogProbability(nn.Module):
    """The log-probability of each row's largest logit; a module, so that its nodes' names tell them (see fp16)."""

    def forward(self, logits: Tensor, best: Tensor) -> Tensor:
        """(rows, 1), from the logits (rows, 1, vocabulary) and the index (rows, 1) of the largest."""
        return -(logits - logits.gather(-1, best[:, :, None])).exp().sum(-1).log()


def _clamp(values: Tensor, low: int, high: int) -> Tensor:
    """`clamp` as Min and Max; Clip has no CUDA kernel for some integer types."""
    return torch.maximum(torch.minimum(values, torch.tensor(high)), torch.tensor(low))


def _padding_mask(length: Tensor, positions: Tensor) -> Tensor:
    """(rows, 1, 1, positions): 0 at each row's own positions, the lowest float32 from index length[row] on."""
    padding = positions[None, :] >= length[:, None]
    return torch.where(padding, torch.tensor(MASKED), torch.tensor(0.0))[:, None, None, :]


def static_encoder_config(config: PretrainedConfig, ranks_sentences: bool = False) -> GraphConfig:
    """The export configuration of `StaticEncoderGraph`; `ranks_sentences` says whether it has a sentence ranker."""
    names = cache_names("present", config.num_decoder_layers, ("encoder",))
    outputs: Axes = {name: {0: "rows", 2: "length"} for name in names}
    if ranks_sentences:
        outputs[TOKEN_SCORES] = {0: "rows", 1: "length"}
    example = {
        "input_ids": torch.arange(2, 20).reshape(2, 9),
        "source_length": torch.tensor([9, 4]),
        "source_places": torch.arange(9),
    }
    tokens = {0: "rows", 1: "length"}
    inputs = {"input_ids": tokens, "source_length": {0: "rows"}, "source_places": {0: "length"}}
    return GraphConfig(config, inputs, outputs, example)


def static_decoder_config(config: PretrainedConfig) -> GraphConfig:
    """The export configuration of `StaticDecoderGraph`."""
    layers, rows = config.num_decoder_layers, {0: "rows"}
    inputs = {
        **dict.fromkeys(("input_ids", "past_length", "source_length", "suppressed_token"), rows),
        "own_places": {0: "decoder_capacity"},
        "source_places": {0: "encoder_capacity"},
        **cache_axes("past_key_values", layers),
    }
    past = example_caches(config) * 2 * layers  # of self-attention and of cross-attention
    places = torch.arange(past[0].shape[2])
    example = {
        "input_ids": torch.tensor([[2], [3]]),
        "past_length": torch.tensor([2, 5]),
        "source_length": torch.tensor([11, 4]),
        "suppressed_token": torch.tensor([-1, 7]),
        "own_places": places,
        "source_places": places,
        "past": past,
    }
    outputs = {
        "logits": rows,
        "best": rows,
        "best_log_probability": rows,
        **cache_axes("present", layers, ("decoder",)),
    }
    return GraphConfig(config, inputs, outputs, example)


def is_static(decoder: onnx.ModelProto) -> bool:
    """Whether the decoder's graph is one of static shapes, for GPUs."""
    return any(entry.name == "own_places" for entry in decoder.graph.input)


def cache_graph() -> onnx.ModelProto:
    """A graph that copies blocks of cache memory: `updated` is `cache` with `given[source]` written at `target`.

    Inputs, all int64: `given` (given_pieces, size), `cache` (pieces, size), `source` (count,), `target` (count, 1);
    output: `updated` (pieces, size). Everything is read before anything is written, so `given`, `cache` and `updated`
    may be the same memory.
    """
    shapes: dict[str, list[str | int | None]] = {
        "given": ["given_pieces", "size"],
        "cache": ["pieces", "size"],
        "source": ["count"],
        "target": ["count", 1],
    }
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name, shape in shapes.items()]
    output = helper.make_tensor_value_info("updated", TensorProto.INT64, ["pieces", "size"])
    nodes = [
        helper.make_node("Gather", ["given", "source"], ["taken"], "take"),
        helper.make_node("ScatterND", ["cache", "target", "taken"], ["updated"], "put"),
    ]
    graph = helper.make_graph(nodes, "cache", inputs, [output])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
