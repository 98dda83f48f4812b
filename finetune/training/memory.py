"""Estimates the memory of a training step by a forward pass on PyTorch's meta device, which computes shapes only."""

from dataclasses import dataclass

import torch
from transformers import AutoModelForSeq2SeqLM

from finetune.recipe import Recipe
from finetune.training.model import add_adapter, load_config
from finetune.training.precision import use_bf16

ADAM_BYTES = 8  # a trained parameter: two moments in fp32
GRADIENT_BYTES = 4


@dataclass(frozen=True)
class MemoryEstimate:
    """Parameter counts, and bytes of one training step on one device without the libraries' few hundred MiB."""

    parameters: int
    trained: int
    weights: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """Bytes of the whole step."""
        return self.weights + self.optimizer + self.activations


def estimate_memory(recipe: Recipe, document_tokens: int, summary_tokens: int) -> MemoryEstimate:
    """The memory of a step whose longest document and summary have so many tokens.

    The activations are the tensors that autograd saves, and the gradient of the logits. Attention is counted as
    transformers computes it without fusing; the fused attention saves less. With gradient checkpointing the activations
    are those outside the blocks, the blocks' inputs, and those of one block.
    """
    config = load_config(recipe.model)
    with torch.device("meta"):
        base = AutoModelForSeq2SeqLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
        parameters = base.num_parameters()
        model = add_adapter(base, recipe.lora) if recipe.lora else base
    trained = sum(values.numel() for values in model.parameters() if values.requires_grad)
    if use_bf16(recipe.training.precision):
        model.to(torch.bfloat16)  # autocast computes in it
    size = recipe.training.batch_size
    saved = _saved_bytes(model, config, size, document_tokens, summary_tokens)
    if recipe.training.gradient_checkpointing:
        settings = {"use_reentrant": False, "preserve_rng_state": False}
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=settings)
        outside = _saved_bytes(model, config, size, document_tokens, summary_tokens)
        width = size * config.d_model * torch.finfo(next(model.parameters()).dtype).bits // 8
        inputs = width * (config.num_layers * document_tokens + config.num_decoder_layers * summary_tokens)
        saved = outside + inputs + (saved - outside) // (config.num_layers + config.num_decoder_layers)
    return MemoryEstimate(
        parameters=parameters,
        trained=trained,
        weights=(parameters // 2 if recipe.model.load_in_4bit else parameters * 4) + trained * 4 * bool(recipe.lora),
        optimizer=trained * (ADAM_BYTES + GRADIENT_BYTES),
        activations=saved + 4 * size * summary_tokens * config.vocab_size,
    )


def _saved_bytes(model: torch.nn.Module, config, size: int, document_tokens: int, summary_tokens: int) -> int:
    """Bytes of the distinct tensors that a forward pass saves for the backward pass, without parameters."""
    parameters = {values.untyped_storage()._cdata for values in model.parameters()}
    storages: dict[int, torch.UntypedStorage] = {}

    def pack(values: torch.Tensor) -> torch.Tensor:
        storage = values.untyped_storage()
        if storage._cdata not in parameters:
            storages[storage._cdata] = storage  # a reference, so that no other tensor gets its address
        return values

    def shape(length: int) -> torch.Tensor:
        return torch.zeros((size, length), dtype=torch.long, device="meta")

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda values: values):
        model.train()(
            input_ids=shape(document_tokens),
            decoder_input_ids=shape(summary_tokens),
            labels=shape(summary_tokens),
            use_cache=False,
        )
    return sum(storage.nbytes() for storage in storages.values())
