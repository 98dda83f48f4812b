"""Looks at a recipe without training: names, counts, lengths and the memory a step will need."""

from pathlib import Path

import torch
from transformers.utils import logging

from finetune.data.loading import load_pairs
from finetune.data.report import report, show, write
from finetune.data.tokenizing import tokenized
from finetune.errors import UserError
from finetune.recipe import Recipe
from finetune.reports.progress import console
from finetune.training.memory import estimate
from finetune.training.train import load_tokenizer


def check(recipe: Recipe) -> Path:
    """Prints what a run of `recipe` would read and need, and returns the folder with data.md and data.png.

    Weights are not loaded. Raises UserError as a run would.
    """
    logging.set_verbosity_error()
    pairs = load_pairs(recipe.data, recipe.training.seed)
    tokenizer = load_tokenizer(recipe.model)
    rows = {"train": pairs.train, "validation": pairs.validation}
    encoded = {name: tokenized(split, tokenizer, recipe)[0] for name, split in rows.items()}
    found = report(pairs, encoded, recipe.data)
    show(found)
    longest = {name: max(map(len, encoded["train"][name])) for name in ("input_ids", "labels")}
    need = estimate(recipe, longest["input_ids"], longest["labels"])
    steps = recipe.training.max_steps or round(
        recipe.training.epochs * len(pairs.train) / recipe.training.batch_size / recipe.training.gradient_accumulation
    )
    console.print(
        f"{recipe.model.name}: {need.parameters:,} parameters, {need.trained:,} of them trained in {steps:,} steps of "
        f"{recipe.training.batch_size * recipe.training.gradient_accumulation} pairs.",
        highlight=False,
    )
    mib = {name: getattr(need, name) / 2**20 for name in ("weights", "optimizer", "activations", "total")}
    console.print(
        f"Memory of a step with the longest pairs, estimated: {mib['total']:,.0f} MiB (weights {mib['weights']:,.0f}, "
        f"gradients and Adam {mib['optimizer']:,.0f}, activations {mib['activations']:,.0f}), and some hundred MiB "
        "for the libraries.",
        highlight=False,
    )
    if torch.cuda.is_available():
        have = torch.cuda.mem_get_info()[0]
        if need.total > have:
            raise UserError(
                f"training.batch_size: a step needs about {need.total / 2**30:.1f} GiB, and {have / 2**30:.1f} GiB of "
                f"{torch.cuda.get_device_name()} are free; lower it or set training.gradient_checkpointing=true."
            )
    folder = Path(recipe.output).with_name(f"{Path(recipe.output).name}.check")
    folder.mkdir(parents=True, exist_ok=True)
    write(found, encoded, recipe.data, folder)
    return folder
