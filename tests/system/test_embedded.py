"""The model that `make run` serves: its figures, as its own files tell them."""

import json

import numpy as np
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from finetune.evaluation.rouge import rouge_by_document
from tests.conftest import ROOT, gazette

KINDS = ("rouge1", "rouge2", "rougeL")


def test_fine_tuning_beats_the_base_on_every_rouge(embedded):
    rouge = json.loads((embedded / "rouge.json").read_text())
    assert rouge["documents"] == 100
    assert all(rouge["finetuned"][kind] > rouge["base"][kind] for kind in KINDS), rouge


def test_the_bundle_is_equal_to_pytorch(embedded):
    parity = json.loads((embedded / "bundle/parity.json").read_text())
    assert parity["passed"] is True
    assert parity["documents"] >= 100
    assert parity["identical_summaries"] + parity["ties"] == parity["documents"]
    assert parity["max_abs_logit_difference"] <= 1e-3
    if not parity["ties"]:
        assert all(parity["delta"][kind] == 0 for kind in KINDS)


def test_the_figures_can_be_had_again_from_the_merged_model(embedded):
    """A few summaries by plain transformers, scored here, against the manifest's mean within their own spread."""
    rows = gazette("validation")[::6]
    tokenizer = AutoTokenizer.from_pretrained(embedded / "merged")
    model = AutoModelForSeq2SeqLM.from_pretrained(embedded / "merged").eval()
    limit = json.loads((embedded / "bundle/manifest.json").read_text())["max_input_tokens"]
    summaries = []
    for row in rows:
        batch = tokenizer("summarize: " + row["document"], truncation=True, max_length=limit, return_tensors="pt")
        with torch.inference_mode():
            summaries.append(tokenizer.decode(model.generate(**batch)[0], skip_special_tokens=True))
    scores = rouge_by_document(summaries, [row["summary"] for row in rows])["rougeL"]
    told = json.loads((embedded / "rouge.json").read_text())["finetuned"]["rougeL"]
    assert abs(scores.mean() - told) < 3 * scores.std() / np.sqrt(len(rows))


def test_the_base_is_small_enough_to_carry():
    assert sum(path.stat().st_size for path in (ROOT / "models/base").iterdir()) < 30e6
