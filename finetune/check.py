"""Checks a recipe without training: reads the data and estimates steps and memory."""

import math
from pathlib import Path

import torch

from finetune.data.loading import load_pairs
from finetune.data.report import data_report, print_report, write_report
from finetune.data.tokenizing import tokenize_pairs
from finetune.errors import UserError
from finetune.recipe import Recipe
from finetune.reports.progress import console
from finetune.training.failures import check_writable, disk_errors_as_user_errors
from finetune.training.memory import MemoryEstimate, estimate_memory
from finetune.training.preconditions import check_model


def check(recipe: Recipe) -> Path:
    """Prints the data report, the number of steps and the memory that a run of `recipe` needs.

    Of the weights only names and shapes are read; those of a model on the hub are downloaded for that. Returns the
    folder with data.md and data.png. Raises UserError as a run would, and if a step does not fit into the free GPU
    memory.
    """
    folder = recipe.output_folder.with_name(f"{recipe.output_folder.name}.check")
    check_writable(folder)
    with disk_errors_as_user_errors(folder):
        return _check(recipe, folder)


def _check(recipe: Recipe, folder: Path) -> Path:
    tokenizer = check_model(recipe)
    pairs = load_pairs(recipe.data, recipe.training.seed)
    train_set = tokenize_pairs(pairs.train, tokenizer, recipe)
    validation_set = tokenize_pairs(pairs.validation, tokenizer, recipe)
    report = data_report(pairs, {"train": train_set, "validation": validation_set}, recipe.data)
    print_report(report)
    longest_input = min(report.splits.train.document_tokens[-1], recipe.data.max_document_tokens)
    longest_labels = min(report.splits.train.summary_tokens[-1], recipe.data.max_summary_tokens)
    estimate = estimate_memory(recipe, longest_input, longest_labels)
    _print_estimate(recipe, estimate, len(pairs.train))
    _check_gpu_memory(estimate)
    folder.mkdir(parents=True, exist_ok=True)
    write_report(report, train_set, recipe.data, folder)
    return folder


def _print_estimate(recipe: Recipe, estimate: MemoryEstimate, pairs: int) -> None:
    pairs_per_step = recipe.training.batch_size * recipe.training.gradient_accumulation
    # As the Trainer counts: the last step of an epoch may have fewer pairs.
    steps = recipe.training.max_steps or math.ceil(recipe.training.epochs * math.ceil(pairs / pairs_per_step))
    console.print(
        f"{recipe.model.name}: {estimate.parameters:,} parameters, {estimate.trained:,} of them trained in {steps:,} "
        f"steps of {pairs_per_step} pairs.",
        highlight=False,
    )
    mib = {name: getattr(estimate, name) / 2**20 for name in ("weights", "optimizer", "activations", "total")}
    console.print(
        f"Estimated memory of a step with the longest pairs: {mib['total']:,.0f} MiB (weights {mib['weights']:,.0f}, "
        f"gradients and Adam {mib['optimizer']:,.0f}, activations {mib['activations']:,.0f}), and some hundred MiB "
        "for the libraries.",
        highlight=False,
    )


def _check_gpu_memory(estimate: MemoryEstimate) -> None:
    if not torch.cuda.is_available():
        return
    free = torch.cuda.mem_get_info()[0]
    if estimate.total > free:
        raise UserError(
            f"training.batch_size: a step needs about {estimate.total / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB of "
            f"{torch.cuda.get_device_name()} are free; lower it or set training.gradient_checkpointing=true."
        )
