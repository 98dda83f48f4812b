"""What has to hold of a run before anything is exported from it."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from finetune.errors import UserError
from finetune.recipe import Recipe
from finetune.recipe_io import parse_recipe
from finetune.reports.progress import console
from finetune.training.model import load_base


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, run.json, rouge.json and recipe."""

    folder: Path
    info: dict
    rouge: dict
    recipe: Recipe

    @property
    def imported_from(self) -> Path | None:
        """The folder of an imported run's graphs."""
        place = self.info.get("imported_from")
        return Path(place) if place else None


def open_run(folder: Path) -> Run:
    """Raises UserError where `folder` holds no finished run."""
    try:
        info, rouge = (json.loads((folder / name).read_text(encoding="utf-8")) for name in ("run.json", "rouge.json"))
    except OSError as error:
        raise UserError(
            f"{folder} holds no finished run ({error.filename} is missing): run python -m finetune first."
        ) from error
    except ValueError as error:
        raise UserError(f"{folder} holds no finished run: its run.json or rouge.json is not valid JSON.") from error
    return Run(folder, info, rouge, parse_recipe(info["recipe"]))


def check_gain(run: Run, accept_worse: bool) -> None:
    """Refuses a model that fine-tuning has certainly made worse, by the paired interval of its ROUGE-L.

    One that is worse by no more than chance is told on the console. An imported model has nothing to compare with.
    """
    if run.imported_from:
        return
    base, tuned = (run.rouge[system]["rougeL"] for system in ("base", "finetuned"))
    low, high = run.rouge["paired_difference_ci95"]["rougeL"]
    if tuned >= base:
        return
    finding = (
        f"Fine-tuning made ROUGE-L worse: {base:.2f} before, {tuned:.2f} after "
        f"(95% interval of the difference [{low:+.2f}, {high:+.2f}])"
    )
    if high < 0 and not accept_worse:
        raise UserError(f"{finding}; nothing was exported. --accept-worse exports it all the same.")
    console.print(f"[yellow]{finding}.")


def load_merged(run: Run) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The merged model in fp32 and its tokenizer. Raises UserError for weights that are no numbers."""
    merged = run.folder / "merged"
    try:
        model = AutoModelForSeq2SeqLM.from_pretrained(merged, dtype=torch.float32, use_safetensors=True).eval()
        tokenizer = AutoTokenizer.from_pretrained(merged, use_fast=True)
    except (OSError, ValueError) as error:
        raise UserError(f"{merged} cannot be loaded: {str(error).splitlines()[0]}") from error
    check_weights(model, merged)
    check_tokenizer(model, tokenizer, merged)
    return model, tokenizer


def check_weights(model: PreTrainedModel, folder: Path) -> None:
    """Raises UserError that names the first tensor with NaN or infinity."""
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise UserError(
                f"{folder} has weights that are no numbers (NaN or infinity in {name}): fine-tune again with a lower "
                "training.learning_rate."
            )


def check_tokenizer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Raises UserError where the tokenizer is of another model."""
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise UserError(
            f"The tokenizer in {folder} does not belong to the model: it has {len(tokenizer)} tokens and the model "
            f"{rows} embeddings."
        )
    for kind in ("pad_token_id", "eos_token_id"):
        theirs, ours = getattr(tokenizer, kind), getattr(model.config, kind)
        if theirs != ours:
            raise UserError(
                f"The tokenizer in {folder} does not belong to the model: {kind} is {theirs} and the model's {ours}."
            )


def load_adapted(run: Run, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """The base with the run's adapter, not merged. Raises UserError, also where the base has another vocabulary."""
    base, own = load_base(run.recipe.model)
    if own.get_vocab() != tokenizer.get_vocab():
        raise UserError(
            f"The tokenizer in {run.folder / 'merged'} does not belong to the model: its vocabulary is not that of "
            f"{run.recipe.model.name}."
        )
    try:
        return PeftModel.from_pretrained(base, run.folder / "adapter").eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{run.folder / 'adapter'} cannot be loaded: {str(error).splitlines()[0]}") from error
