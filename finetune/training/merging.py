"""Merges an adapter into its base, and measures that the merged model says what base and adapter said."""

import tempfile

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from finetune.errors import UserError
from finetune.evaluation.scoring import encode
from finetune.recipe import Recipe
from finetune.training.train import load_base

TOLERANCE = 1e-4  # of the largest logit; rounding in fp32 makes a tenth of it where attention is sharp
PAIRS = 8


def merge(
    model: PeftModel, tokenizer: PreTrainedTokenizerFast, documents: list[str], references: list[str], recipe: Recipe
) -> tuple[PreTrainedModel, float]:
    """The merged network in fp32, and the largest difference of a logit over some teacher-forced pairs.

    An adapter trained on a 4-bit base is merged into the fp32 base. Raises UserError where the difference is more
    than rounding.
    """
    if recipe.model.load_in_4bit:
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            base, _ = load_base(recipe.model)
            model = PeftModel.from_pretrained(base.to(model.device), folder)
    batch = tokenizer.pad({"input_ids": encode(tokenizer, documents[:PAIRS], recipe)}, return_tensors="pt")
    batch["labels"] = tokenizer(
        references[:PAIRS],
        padding=True,
        truncation=True,
        max_length=recipe.data.max_summary_tokens,
        return_tensors="pt",
    ).input_ids
    batch = batch.to(model.device)
    before = _logits(model, batch)
    merged = model.merge_and_unload()
    difference = float((_logits(merged, batch) - before).abs().max())
    if not difference <= TOLERANCE * float(before.abs().max()):
        raise UserError(f"lora: merging the adapter moves a logit by {difference:.2g}; nothing was written.")
    return merged, difference


@torch.inference_mode()
def _logits(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return model.eval()(**batch).logits.float()
