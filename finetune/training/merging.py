"""Merges an adapter into its base, and checks that the merged model computes the same logits."""

import tempfile

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from finetune.data.tokenizing import encode, truncate
from finetune.errors import UserError
from finetune.evaluation.logit_difference import LogitDifference
from finetune.recipe import Recipe
from finetune.training.model import load_base

PAIRS = 8  # compared


def merge(
    model: PeftModel, tokenizer: PreTrainedTokenizerFast, documents: list[str], references: list[str], recipe: Recipe
) -> tuple[PreTrainedModel, LogitDifference]:
    """The merged model in fp32, and the logit differences to the adapted one on the first pairs, teacher-forced.

    An adapter trained on a 4-bit base is merged into the fp32 base. Raises UserError if a difference is larger than
    rounding explains (export.tolerance).
    """
    if recipe.model.load_in_4bit:
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            base, _ = load_base(recipe.model)
            model = PeftModel.from_pretrained(base.to(model.device), folder)
    inputs = encode(tokenizer, documents[:PAIRS], recipe)
    labels = [truncate(ids, recipe.data.max_summary_tokens) for ids in tokenizer(references[:PAIRS]).input_ids]
    batch = dict(tokenizer.pad({"input_ids": inputs}, return_tensors="pt"))
    batch["labels"] = tokenizer.pad({"input_ids": labels}, return_tensors="pt").input_ids
    batch = {name: values.to(model.device) for name, values in batch.items()}
    before = _logits(model, batch)
    merged = model.merge_and_unload()
    difference = LogitDifference()
    for left, right in zip(before, _logits(merged, batch), strict=True):
        difference.add(left.cpu().numpy(), right.cpu().numpy())
    if not difference.is_rounding(recipe.export.tolerance):
        raise UserError(
            f"lora: merging the adapter moves a logit by {difference.largest:.2g}, and rounding by at most "
            f"{difference.allowed(recipe.export.tolerance):.2g} (export.tolerance times the largest logit); nothing "
            "was written."
        )
    return merged, difference


@torch.inference_mode()
def _logits(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return model.eval()(**batch).logits.float()
