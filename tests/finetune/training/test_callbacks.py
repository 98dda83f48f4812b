"""Early stopping, and the best evaluation kept."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from finetune.recipe_io import read_recipe
from tests.conftest import ROOT
from tests.support.finetuning import run_recipe


@pytest.mark.slow
def test_training_stops_early_on_rouge_and_keeps_the_best_evaluation(tiny_recipe, tmp_path):
    info = run_recipe(
        tiny_recipe,
        tmp_path / "run",
        f"model.name={ROOT / 'models/base'}",  # the tiny one has no word right
        "training.max_steps=40",
        "training.learning_rate=3e-3",
        "training.evaluate_every=2",
        "training.metric=rougeL",
        "training.patience=3",
    )
    scores = {row["step"]: row["eval_rougeL"] for row in info["log"] if "eval_rougeL" in row}
    assert info["best_step"] == max(scores, key=scores.get)
    assert info["training_steps"] == info["best_step"] + 2 * 3 < 40
    final = json.loads((tmp_path / "run/rouge.json").read_text())["finetuned"]["rougeL"]
    assert final == pytest.approx(scores[info["best_step"]], abs=0.02)


def test_kept_weights_have_the_lowest_validation_loss(tiny_recipe, tmp_path):
    info = run_recipe(
        tiny_recipe,
        tmp_path / "run",
        "training.max_steps=16",
        "training.batch_size=1",
        "training.learning_rate=0.3",
        "training.scheduler=constant",
        "training.warmup_ratio=0",
        "training.evaluate_every=1",
        "training.eval_batch_size=64",
        "training.precision=fp32",
    )
    losses = {row["step"]: row["eval_loss"] for row in info["log"] if "eval_loss" in row}
    assert len(losses) == 16
    assert info["best_step"] == min(losses, key=losses.get)
    recipe = read_recipe(tiny_recipe)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run/merged")
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "run/merged").eval()
    rows = [json.loads(line) for line in Path(recipe.data.validation).read_text().splitlines()]
    documents = [recipe.model.prefix + row["document"] for row in rows]
    batch = tokenizer(documents, truncation=True, max_length=64, padding=True, return_tensors="pt")
    labels = tokenizer([row["summary"] for row in rows], truncation=True, max_length=64, padding=True)
    labels = torch.tensor(labels.input_ids)
    with torch.no_grad():
        loss = model(**batch, labels=labels.masked_fill(labels == 0, -100)).loss.item()
    assert loss == pytest.approx(min(losses.values()), abs=2e-3)
