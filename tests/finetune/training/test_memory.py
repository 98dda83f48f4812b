"""The memory estimate against what autograd saves in a real step."""

import pytest
import torch

from finetune.recipe_io import read_recipe
from finetune.training.memory import estimate_memory
from finetune.training.model import add_adapter, load_base


def test_estimate_matches_the_tensors_a_real_step_saves(tiny_recipe):
    """Counted on a real step: what autograd holds on to when the loss is there, by storage."""

    recipe = read_recipe(tiny_recipe, ["training.precision=fp32", "training.batch_size=4"])
    network, _ = load_base(recipe.model)
    network.set_attn_implementation("eager")
    model = add_adapter(network, recipe.lora).train()
    own = {values.untyped_storage().data_ptr() for values in model.parameters()}
    held = {}

    def pack(values):
        if values.untyped_storage().data_ptr() not in own:
            held[values.untyped_storage().data_ptr()] = values.untyped_storage()
        return values

    ids = torch.ones((4, 60), dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda values: values):
        short = torch.ones((4, 20), dtype=torch.long)
        model(input_ids=ids, attention_mask=ids, decoder_input_ids=short, labels=short, use_cache=False)
    logits = 4 * 4 * 20 * network.config.vocab_size
    real = sum(storage.nbytes() for storage in held.values())
    assert estimate_memory(recipe, 60, 20).activations == pytest.approx(real + logits, rel=0.02)


def test_estimate_grows_with_the_batch_and_shrinks_with_checkpointing(tiny_recipe):
    small, large, checkpointed = (
        estimate_memory(read_recipe(tiny_recipe, ["training.precision=fp32", *overrides]), 64, 40)
        for overrides in (
            ["training.batch_size=4"],
            ["training.batch_size=16"],
            ["training.batch_size=16", "training.gradient_checkpointing=true"],
        )
    )
    assert 3.5 < large.activations / small.activations < 4.2
    assert checkpointed.activations < 0.9 * large.activations  # the logits stay
    assert small.weights == 4 * (small.parameters + small.trained)
