"""The encoder and decoder graphs for CPUs, as PyTorch modules around T5's own layers.

The encoder reads one text without padding and returns the keys and values of every cross-attention layer. The decoder
takes one or more steps for rows of different lengths and ages: the caches are buffers of the caller, left-aligned, and
are updated in place. Rows join, leave and grow without padding, masks or copies, and the result of a row does not
depend on the other rows of its batch.

Attribute names of the modules (`stack`, `table`, `unit`) become tensor names in the ONNX files.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Attention

from export.graphs.attention import add_and_normalize, attention, cached_attention, quantize_int8
from export.graphs.source_attention import SOURCE_BLOCK, SourceAttention
from finetune.training.attention import IS_TRANSFORMERS_5
from precis.bundle.names import BLOCK_MAXIMA, LOG_SUMS, LOGITS, TOKEN_SCORES
from precis.decoding.step_logits import block_size

Axes = dict[str, dict[int, str]]  # dynamic axes of inputs or outputs, as torch.onnx has them


def position_bias_table(layer: T5Attention) -> Tensor:
    """T5's learned relative position bias by distance, (distances, heads).

    The rows are the distances 0 ... n back for the decoder and -n ... n for the encoder, n being
    `relative_attention_max_distance`: T5 puts all larger distances into its last bucket. A look-up in this table does
    the work of com.microsoft.RelativePositionBias, which has no CPU kernel.
    """
    furthest = layer.relative_attention_max_distance
    distances = -torch.arange(furthest + 1) if layer.is_decoder else torch.arange(-furthest, furthest + 1)
    buckets = layer._relative_position_bucket(
        distances,
        bidirectional=not layer.is_decoder,
        num_buckets=layer.relative_attention_num_buckets,
        max_distance=furthest,
    )
    return layer.relative_attention_bias.weight.detach()[buckets]


class EncoderGraph(nn.Module):
    """Encodes one text.

    Input: `input_ids` (1, length) int64. Outputs: `present.N.encoder.key` and `present.N.encoder.value` for each
    decoder layer N, (1, heads, length, d_kv), float32, or int8 with `int8_cross_kv`. The latter needs a model that
    `export.graphs.calibration.calibrate_kv` has rescaled. With a sentence ranker also `token_scores`,
    (1, length) float32, the products of the encoder's states with `ranker` (d_model,).
    """

    table: Tensor
    ranker: Tensor | None

    def __init__(
        self, model: T5ForConditionalGeneration, int8_cross_kv: bool = False, ranker: Tensor | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("ranker", ranker)
        self.int8_cross_kv, self.heads = int8_cross_kv, model.config.num_heads
        self.config, self.stack = model.config, model.encoder
        layers: Any = model.decoder.block
        self.cross = nn.ModuleList(
            getattr(block.layer[1].EncDecAttention, part) for block in layers for part in ("k", "v")
        )
        first: Any = model.encoder.block[0]
        self.register_buffer("table", position_bias_table(first.layer[0].SelfAttention))

    def forward(self, input_ids: Tensor) -> dict[str, Tensor]:
        """Returns the outputs by name."""
        positions = torch.arange(input_ids.shape[1])
        furthest = (len(self.table) - 1) // 2
        distances = (positions[None, :] - positions[:, None]).clamp(-furthest, furthest) + furthest
        return self._encode(input_ids, self.table[distances].permute(2, 0, 1)[None])

    def _encode(self, input_ids: Tensor, bias: Tensor) -> dict[str, Tensor]:
        """The outputs by name; `bias` (1 or rows, heads, length, length) is added to every layer's scores."""
        hidden = self.stack.embed_tokens(input_ids)
        block: Any
        for block in self.stack.block:
            self_layer, feed_forward = block.layer[0], block.layer[-1]
            normed, layer = self_layer.layer_norm(hidden), self_layer.SelfAttention
            hidden = hidden + layer.o(attention(layer.q(normed), layer.k(normed), layer.v(normed), bias, self.heads))
            hidden = hidden + feed_forward.DenseReluDense(feed_forward.layer_norm(hidden))
        hidden = self.stack.final_layer_norm(hidden)
        caches = [project(hidden) for project in self.cross]
        if self.int8_cross_kv:
            caches = [quantize_int8(cache) for cache in caches]
        caches = [cache.unflatten(-1, (self.heads, -1)).transpose(1, 2) for cache in caches]
        outputs = dict(zip(cache_names("present", len(caches) // 2, ("encoder",)), caches, strict=True))
        # A sum of products, which stays in fp32 where matrix products become int8.
        return outputs if self.ranker is None else outputs | {TOKEN_SCORES: (hidden * self.ranker).sum(-1)}


class DecoderGraph(nn.Module):
    """One or more decoder steps for any number of rows, of several steps only for a single row.

    Inputs: `input_ids` (rows, steps) int64; `past_length` (rows,) int32, the entries that a row has in its
    self-attention cache; `block_queries`, `block_length` and `query_blocks`, see `SourceAttention`; for each layer N
    `past_key_values.N.decoder.key` and `.value`, (rows, heads, decoder_capacity, d_kv), with room for `steps` more
    entries than they hold, and the blocks of sources `past_key_values.N.encoder.key`,
    (blocks, heads, d_kv, SOURCE_BLOCK), and `.value`, (blocks, heads, SOURCE_BLOCK, d_kv). All caches are float32, or
    int8 with `int8_kv`, which needs a model that `calibrate_kv` has rescaled. Outputs: `logits`
    (rows * steps, vocabulary) float32; `block_maxima` (rows * steps, blocks), the largest of each block of
    `precis.decoding.step_logits.block_size` logits; `log_sums` (rows * steps,), the logarithms of the sums of their
    exponentials; and the self-attention caches as `present.N.decoder...`, with `steps` more entries.

    The projections to queries, keys and values of self-attention are one product here: they become a layer `qkv` of
    the model's attention.
    """

    table: Tensor

    def __init__(self, model: T5ForConditionalGeneration, int8_kv: bool = False) -> None:
        super().__init__()
        self.config, self.stack, self.lm_head = model.config, model.decoder, model.lm_head
        self.int8_kv, self.heads, self.d_kv = int8_kv, model.config.num_heads, model.config.d_kv
        self.scale = model.model_dim**-0.5 if _scales_output(model.config) else 1.0
        blocks: Any = model.decoder.block
        for block in blocks:
            layer = block.layer[0].SelfAttention
            layer.qkv = _side_by_side(layer.q, layer.k, layer.v)
        self.register_buffer("table", position_bias_table(blocks[0].layer[0].SelfAttention))

    def forward(
        self,
        input_ids: Tensor,
        past_length: Tensor,
        block_queries: Tensor,
        block_length: Tensor,
        query_blocks: Tensor,
        past: list[Tensor],
    ) -> dict[str, Tensor]:
        """Returns the outputs by name; `past` holds the caches in the order of `cache_names`."""
        steps, width = input_ids.shape[1], self.heads * self.d_kv
        last = past_length + (steps - 1)
        total = last.max() + 1
        positions = past_length[:, None] + _arange(steps)
        distances = positions[:, :, None] - _arange(total.long())[None, None, :]
        bias = self.table[distances.clamp(0, len(self.table) - 1).long()].permute(0, 3, 1, 2)
        tables = block_queries, block_length, query_blocks
        attend = SourceAttention(*tables, self.heads, self.d_kv, self.int8_kv)

        # All is (rows * steps, ...) but for self-attention.
        hidden = self.stack.embed_tokens(input_ids.reshape(-1))
        blocks: Any = self.stack.block
        norms = [sublayer.layer_norm for block in blocks for sublayer in block.layer] + [self.stack.final_layer_norm]
        normed, following = norms[0](hidden), iter(norms[1:])

        def add(update: Tensor) -> tuple[Tensor, Tensor]:
            norm = next(following)
            return add_and_normalize(hidden, update, norm.weight, norm.variance_epsilon)

        present = []
        for number, block in enumerate(blocks):
            self_layer, cross_layer, feed_forward = block.layer
            layer = self_layer.SelfAttention
            qkv = layer.qkv(normed).reshape(-1, steps, 3 * width)
            context, *caches = cached_attention(qkv, *past[4 * number :][:2], last, total, bias, self.heads)
            present += caches
            normed, hidden = add(layer.o(context.reshape(-1, width)))
            layer = cross_layer.EncDecAttention
            context = attend(layer.q(normed).reshape(-1, self.d_kv), *past[4 * number + 2 :][:2])
            normed, hidden = add(layer.o(context.reshape(-1, width)))
            normed, hidden = add(feed_forward.DenseReluDense(normed))
        logits = self.lm_head(normed * self.scale)
        vocab_size = self.lm_head.out_features
        size = block_size(vocab_size)
        maxima = logits.reshape(-1, vocab_size // size, size).amax(-1)
        # The largest log-probability, of LogSoftmax, which computes row by row: a row does not depend on the others.
        log_sums = maxima.amax(-1) - logits.log_softmax(-1).amax(-1)
        names = cache_names("present", len(blocks), ("decoder",))
        outputs = {LOGITS: logits, BLOCK_MAXIMA: maxima, LOG_SUMS: log_sums}
        return outputs | dict(zip(names, present, strict=True))


def _scales_output(config: PretrainedConfig) -> bool:
    """Whether the decoder's last states are scaled before the output layer.

    In transformers 4 if it shares its weight with the embedding. transformers 5 reads all T5s as sharing it, and notes
    in an attribute of its own what config.json says; its mT5 never scales.
    """
    if IS_TRANSFORMERS_5:
        return getattr(config, "scale_decoder_outputs", False)
    return config.tie_word_embeddings


def _side_by_side(*layers: nn.Linear) -> nn.Linear:
    """One linear layer without bias that gives the outputs of `layers`, one after the other."""
    weight = torch.cat([layer.weight.detach() for layer in layers])
    joined = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    joined.weight = nn.Parameter(weight)
    return joined


def _arange(end: Any) -> Tensor:
    """0 ... end - 1 in int32; while tracing, `end` may be a tensor, which PyTorch's type hints do not have."""
    return torch.arange(end, dtype=torch.int32)


def cache_names(kind: str, layers: int, sides: tuple[str, ...] = ("decoder", "encoder")) -> list[str]:
    """The cache names of all layers as Optimum writes them; `kind` is "past_key_values" or "present".

    A layer has its own keys and values (side "decoder") and those of its cross-attention ("encoder").
    """
    return [f"{kind}.{layer}.{side}.{part}" for layer in range(layers) for side in sides for part in ("key", "value")]


@dataclass(frozen=True)
class GraphConfig:
    """What an exporter needs to know of a graph: dynamic axes of its inputs and outputs, and example inputs.

    The inputs are in the order of the module's arguments; those that `example` lacks are the caches in its `past`.
    """

    config: PretrainedConfig
    inputs: Axes
    outputs: Axes
    example: dict[str, Any]


def cache_axes(kind: str, layers: int, sides: tuple[str, ...] = ("decoder", "encoder")) -> Axes:
    """The dynamic axes of the decoder's caches, rows and capacity, by the names of `cache_names`."""
    return {name: {0: "rows", 2: f"{name.split('.')[2]}_capacity"} for name in cache_names(kind, layers, sides)}


def example_caches(config: PretrainedConfig, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Empty keys and values of two rows for one layer."""
    return [torch.zeros((2, config.num_heads, 13, config.d_kv), dtype=dtype) for _ in range(2)]


def example_blocks(config: PretrainedConfig, dtype: torch.dtype) -> list[Tensor]:
    """Three empty blocks of sources for one layer: keys and values."""
    key = torch.zeros((3, config.num_heads, config.d_kv, SOURCE_BLOCK), dtype=dtype)
    return [key, key.transpose(2, 3).contiguous()]


def encoder_config(config: PretrainedConfig, ranks_sentences: bool = False) -> GraphConfig:
    """The export configuration of `EncoderGraph`; `ranks_sentences` says whether it has a sentence ranker."""
    outputs = {name: {2: "length"} for name in cache_names("present", config.num_decoder_layers, ("encoder",))}
    if ranks_sentences:
        outputs[TOKEN_SCORES] = {1: "length"}
    return GraphConfig(config, {"input_ids": {1: "length"}}, outputs, {"input_ids": torch.arange(2, 11)[None]})


def decoder_config(config: PretrainedConfig, int8_kv: bool = False) -> GraphConfig:
    """The export configuration of `DecoderGraph`."""
    layers, blocks = config.num_decoder_layers, {0: "blocks"}
    dtype = torch.int8 if int8_kv else torch.float32
    tokens, rows = {0: "rows", 1: "steps"}, {0: "rows"}
    inputs = {
        **{"input_ids": tokens, "past_length": rows},
        **{"block_queries": {0: "blocks", 1: "block_queries"}, "block_length": blocks},
        "query_blocks": {0: "queries", 1: "query_blocks"},
        # In the order of `past`, by which the exporter names the caches.
        **{
            name: blocks if ".encoder." in name else axes
            for name, axes in cache_axes("past_key_values", layers).items()
        },
    }
    example = {
        # Two of each, since PyTorch's exporter takes a size of 1 for a fixed one.
        "input_ids": torch.tensor([[2, 4], [3, 5]]),
        "past_length": torch.tensor([2, 5], dtype=torch.int32),
        "block_queries": torch.tensor([[0, 0], [1, 0], [0, 0]]),
        "block_length": torch.tensor([64, 4, 10]),
        "query_blocks": torch.tensor([[0, 4, -1, -1], [0, 4, -1, -1], [2, -1, -1, -1], [2, -1, -1, -1]]),
        "past": (example_caches(config, dtype) + example_blocks(config, dtype)) * layers,
    }
    queries = {0: "queries"}
    outputs = {LOGITS: queries, BLOCK_MAXIMA: queries, LOG_SUMS: queries}
    outputs |= cache_axes("present", layers, ("decoder",))
    return GraphConfig(config, inputs, outputs, example)
