"""How much memory a training step of a recipe needs, by a forward pass that computes shapes and nothing else."""

from dataclasses import dataclass

import torch
from transformers import AutoConfig, AutoModelForSeq2SeqLM

from finetune.recipe import Recipe
from finetune.training.precision import use_bf16
from finetune.training.train import add_adapter

ADAM = 8  # bytes a trained parameter: two moments in fp32
GRADIENT = 4


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of one training step on one device, without the libraries' own few hundred MiB."""

    parameters: int
    trained: int
    weights: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.optimizer + self.activations


def estimate(recipe: Recipe, document_tokens: int, summary_tokens: int) -> MemoryEstimate:
    """For a batch whose longest document and summary have so many tokens.

    The activations are the tensors that autograd keeps, counted on PyTorch's meta device, and the gradient of the
    logits. Attention is counted as transformers does it; the fused one keeps less. With gradient checkpointing: what
    lies outside the blocks, the blocks' inputs, and one block's own.
    """
    config = AutoConfig.from_pretrained(recipe.model.name, revision=recipe.model.revision)
    with torch.device("meta"):
        network = AutoModelForSeq2SeqLM.from_config(config, dtype=torch.float32)
        parameters = network.num_parameters()
        model = add_adapter(network, recipe.lora) if recipe.lora else network
    trained = sum(values.numel() for values in model.parameters() if values.requires_grad)
    if use_bf16(recipe.training.precision):
        model.to(torch.bfloat16)  # as autocast computes
    size = recipe.training.batch_size
    kept = _kept(model, config, size, document_tokens, summary_tokens)
    if recipe.training.gradient_checkpointing:
        settings = {"use_reentrant": False, "preserve_rng_state": False}
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=settings)
        outside = _kept(model, config, size, document_tokens, summary_tokens)
        width = size * config.d_model * torch.finfo(next(model.parameters()).dtype).bits // 8
        inputs = width * (config.num_layers * document_tokens + config.num_decoder_layers * summary_tokens)
        kept = outside + inputs + (kept - outside) // (config.num_layers + config.num_decoder_layers)
    return MemoryEstimate(
        parameters=parameters,
        trained=trained,
        weights=(parameters // 2 if recipe.model.load_in_4bit else parameters * 4) + trained * 4 * bool(recipe.lora),
        optimizer=trained * (ADAM + GRADIENT),
        activations=kept + 4 * size * summary_tokens * config.vocab_size,
    )


def _kept(model: torch.nn.Module, config, size: int, document_tokens: int, summary_tokens: int) -> int:
    """Bytes of the distinct tensors that a forward pass keeps for the way back, parameters left out."""
    own = {values.untyped_storage()._cdata for values in model.parameters()}
    seen: dict[int, torch.UntypedStorage] = {}

    def pack(values: torch.Tensor) -> torch.Tensor:
        storage = values.untyped_storage()
        if storage._cdata not in own:
            seen[storage._cdata] = storage  # kept alive, or its address would be given to another
        return values

    def shape(length: int) -> torch.Tensor:
        return torch.zeros((size, length), dtype=torch.long, device="meta")

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda values: values):
        model.train()(
            input_ids=shape(document_tokens),
            attention_mask=shape(document_tokens),
            decoder_input_ids=shape(summary_tokens),
            labels=shape(summary_tokens),
            use_cache=False,
        )
    return sum(storage.nbytes() for storage in seen.values())
