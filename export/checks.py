"""Opens a finished run, and checks all that has to hold before anything is exported from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from finetune.errors import UserError
from finetune.recipe import Recipe
from finetune.recipe_io import resolve_paths
from finetune.reports.progress import console
from finetune.run_info import RunInfo, read_rouge, read_run
from finetune.training.model import load_base, load_tokenizer, load_weights, loading
from finetune.training.preconditions import check_tokenizer
from precis.bundle.reports import RougeReport


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, run.json and rouge.json."""

    folder: Path
    info: RunInfo
    rouge: RougeReport

    @property
    def recipe(self) -> Recipe:
        """The recipe of run.json with its paths as they are from here."""
        return resolve_paths(self.info.recipe, self.folder)


def open_run(folder: Path) -> Run:
    """The run in `folder`. Raises UserError if it holds no finished run."""
    return Run(folder, read_run(folder), read_rouge(folder))


def check_gain(run: Run, accept_worse: bool) -> None:
    """Raises UserError for a model whose ROUGE-L fine-tuning has lowered by more than chance (paired interval).

    `accept_worse` allows it. A smaller loss is a warning on the console.
    """
    base, finetuned = run.rouge.base, run.rouge.finetuned
    if base is None or finetuned is None:
        raise UserError(f"{run.folder / 'rouge.json'} lacks the scores of the base or the fine-tuned model.")
    if finetuned.rougeL >= base.rougeL:
        return
    low, high = run.rouge.paired_difference_ci95["rougeL"]
    warning = (
        f"Fine-tuning made ROUGE-L worse: {base.rougeL:.2f} before, {finetuned.rougeL:.2f} after "
        f"(95% interval of the difference [{low:+.2f}, {high:+.2f}])"
    )
    if high < 0 and not accept_worse:
        raise UserError(f"{warning}; nothing was exported. Use --accept-worse to export it anyway.")
    console.print(f"[yellow]{warning}.")


def load_merged(run: Run) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The merged model in fp32 and its tokenizer.

    Raises UserError if they cannot be loaded, do not belong together, or hold weights that are not finite.
    """
    merged = run.folder / "merged"
    model = load_weights(merged, "merged", dtype=torch.float32).eval()
    tokenizer = load_tokenizer(merged, "merged")
    check_weights(model, merged)
    check_tokenizer(model, tokenizer, f"The tokenizer in {merged}")
    return model, tokenizer


def check_weights(model: PreTrainedModel, folder: Path) -> None:
    """Raises UserError that names the first tensor with NaN or infinity."""
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise UserError(
                f"{folder} has weights that are not finite (NaN or infinity in {name}): fine-tune again with a lower "
                "training.learning_rate."
            )


def load_adapted(run: Run, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """The base model with the run's adapter, not merged; a PeftModel, which forwards to its base.

    Raises UserError if either cannot be loaded, or if the base has another vocabulary than `tokenizer`.
    """
    base, base_tokenizer = load_base(run.recipe.model)
    if base_tokenizer.get_vocab() != tokenizer.get_vocab():
        raise UserError(
            f"The tokenizer in {run.folder / 'merged'} does not belong to the model: its vocabulary is not that of "
            f"{run.recipe.model.name}."
        )
    adapter = run.folder / "adapter"
    with loading("adapter", adapter):
        return cast(PreTrainedModel, PeftModel.from_pretrained(base, adapter).eval())
