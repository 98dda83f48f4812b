"""The graphs for GPUs: all shapes follow from those of the inputs, so that a step can be captured as one CUDA graph.

Nothing in the decoder depends on how full the caches are but numbers in masks, and no shape is computed. It takes one
step of any number of rows, attends over all the room that its caches have, and chooses the best token itself. It is of
operators that ONNX Runtime has for CUDA in fp32 and fp16; GroupQueryAttention has none for fp32.
"""

from typing import Any

import onnx
import torch
from onnx import TensorProto, helper
from transformers import T5ForConditionalGeneration

from export.graphs.attention import OPSET
from export.graphs.dynamic import DecoderConfig, DecoderGraph, EncoderConfig, EncoderGraph, cache_names

SMALL = 256  # up to so many values TopK on CUDA is one cheap kernel
SHUT = torch.finfo(torch.float32).min


class FixedEncoder(EncoderGraph):
    """input_ids (rows, length), each of which is `source_length` (rows,) long, the rest of it anything.

    `source_places` is 0 ... length - 1. Gives `present.N.encoder.key` and `.value`, each (rows, heads, length, d_kv).
    """

    def forward(
        self, input_ids: torch.Tensor, source_length: torch.Tensor, source_places: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        far = (len(self.table) - 1) // 2
        index = _bounded(source_places[None, :] - source_places[:, None], -far, far) + far
        shut = _shut(source_length, source_places)
        return self._read(input_ids, self.table[index].permute(2, 0, 1)[None] + shut)


class FixedDecoder(DecoderGraph):
    """One step of rows of any age: input_ids (rows, 1) to logits (rows, 1, vocabulary) and `best`, a token (rows, 1).

    `past_length` and `source_length` (rows,) tell how full each row's own cache and its source's are; `own_places` and
    `source_places` are 0 ... room - 1 of these caches. Of the caches only the own ones are given out.
    """

    def __init__(self, model: T5ForConditionalGeneration) -> None:
        super().__init__(model)
        self.d_kv = model.config.d_kv
        # The distance -1 is that to an entry which is not there yet.
        self.register_buffer("masked", torch.cat([torch.full((1, self.heads), SHUT), self.table]))
        self.register_buffer("spread", torch.zeros(1, self.heads, 1, self.d_kv, dtype=torch.int64))

    def forward(
        self,
        input_ids: torch.Tensor,
        past_length: torch.Tensor,
        source_length: torch.Tensor,
        own_places: torch.Tensor,
        source_places: torch.Tensor,
        past: list[torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        """`past` has for each layer its own keys and values and those of its cross-attention."""
        hidden = self.stack.embed_tokens(input_ids)
        age = past_length[:, None]
        distances = _bounded(age - own_places[None, :], -1, len(self.table) - 1)
        bias = self.masked[distances + 1].transpose(1, 2)[:, :, None, :]
        source_bias = _shut(source_length, source_places)
        place = age[:, :, None, None] + self.spread

        present = []
        for number, block in enumerate(self.stack.block):
            own, cross, forward = block.layer
            normed, part = own.layer_norm(hidden), own.SelfAttention
            query, *fresh = (self._by_head(project(normed)) for project in (part.q, part.k, part.v))
            caches = [old.scatter(2, place, new) for old, new in zip(past[4 * number :][:2], fresh, strict=True)]
            present += caches
            hidden = hidden + part.o(self._attend(query, *caches, bias))
            part = cross.EncDecAttention
            query = self._by_head(part.q(cross.layer_norm(hidden)))
            hidden = hidden + part.o(self._attend(query, *past[4 * number + 2 :][:2], source_bias))
            hidden = hidden + forward.DenseReluDense(forward.layer_norm(hidden))
        logits = self.lm_head(self.stack.final_layer_norm(hidden) * self.scale)
        names = cache_names("present", len(self.stack.block), ("decoder",))
        return {"logits": logits, "best": self._best(logits), **dict(zip(names, present, strict=True))}

    def _by_head(self, values: torch.Tensor) -> torch.Tensor:
        """(rows, 1, heads x d_kv) to (rows, heads, 1, d_kv): of one step nothing has to be transposed."""
        return values.reshape(-1, self.heads, 1, self.d_kv)

    def _attend(
        self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        mixed = (query @ keys.transpose(2, 3) + bias).softmax(-1) @ values
        return mixed.reshape(-1, 1, self.heads * self.d_kv)

    def _best(self, logits: torch.Tensor) -> torch.Tensor:
        """The first of the largest logits: (rows, 1). In two rounds, since CUDA's TopK takes its time over many."""
        vocabulary = self.lm_head.out_features
        part = next((n for n in range(SMALL, 0, -1) if vocabulary % n == 0 and vocabulary // n <= SMALL), None)
        if part is None:
            return logits.reshape(-1, vocabulary).topk(1).indices
        parts = vocabulary // part
        values, places = logits.reshape(-1, parts, part).topk(1)
        winner = values.reshape(-1, parts).topk(1).indices
        return winner * part + places.reshape(-1, parts).gather(1, winner)


def _bounded(values: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """`clamp` in two operators; Clip has no CUDA kernel for every type of whole numbers."""
    return torch.maximum(torch.minimum(values, torch.tensor(high)), torch.tensor(low))


def _shut(length: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """What shuts out the places from each row's length on: (rows, 1, 1, places)."""
    beyond = places[None, :] >= length[:, None]
    return torch.where(beyond, torch.tensor(SHUT), torch.tensor(0.0))[:, None, None, :]


class FixedEncoderConfig(EncoderConfig):
    @property
    def inputs(self) -> dict[str, dict[int, str]]:
        return {
            "input_ids": {0: "rows", 1: "length"},
            "source_length": {0: "rows"},
            "source_places": {0: "length"},
        }

    @property
    def outputs(self) -> dict[str, dict[int, str]]:
        return {name: {0: "rows", 2: "length"} for name in super().outputs}

    def generate_dummy_inputs(self, framework: str = "pt", **shapes: Any) -> dict[str, Any]:
        ids = torch.arange(2, 20).reshape(2, 9)
        return {"input_ids": ids, "source_length": torch.tensor([9, 4]), "source_places": torch.arange(9)}


class FixedDecoderConfig(DecoderConfig):
    @property
    def inputs(self) -> dict[str, dict[int, str]]:
        caches = {name: axes for name, axes in super().inputs.items() if name.startswith("past_key_values")}
        return {
            "input_ids": {0: "rows"},
            "past_length": {0: "rows"},
            "source_length": {0: "rows"},
            "own_places": {0: "decoder_capacity"},
            "source_places": {0: "encoder_capacity"},
            **caches,
        }

    @property
    def outputs(self) -> dict[str, dict[int, str]]:
        caches = {name: axes for name, axes in super().outputs.items() if ".decoder." in name}
        return {"logits": {0: "rows"}, "best": {0: "rows"}, **caches}

    def generate_dummy_inputs(self, framework: str = "pt", **shapes: Any) -> dict[str, Any]:
        given = super().generate_dummy_inputs(framework, **shapes)
        past = given.pop("past")
        lengths = {name: given[name].long() for name in ("past_length", "source_length")}
        places = {name: torch.arange(past[0].shape[2]) for name in ("own_places", "source_places")}
        return {"input_ids": given["input_ids"], **lengths, **places, "past": past}


def is_fixed(decoder: onnx.ModelProto) -> bool:
    return any(entry.name == "own_places" for entry in decoder.graph.input)


def cache_graph() -> onnx.ModelProto:
    """Copies pieces of memory: `updated` is `cache` (pieces, size) with `given[source]` at `target` (count, 1).

    All is read before anything is written, so `given` and `cache` may be the same memory, and `updated` as well.
    """
    shapes = {
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
