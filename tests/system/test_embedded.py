"""The model that `make run` serves: the figures in its own files."""

import json

import numpy as np
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from finetune.evaluation.rouge import rouge_by_document
from tests.conftest import ROOT, gazette

KINDS = ("rouge1", "rouge2", "rougeL")


def test_finetuned_model_beats_the_first_sentence_on_every_rouge(embedded):
    rouge = json.loads((embedded / "rouge.json").read_text())
    assert rouge["documents"] == 100
    assert all(rouge["finetuned"][kind] > rouge["lead"][kind] for kind in KINDS), rouge


def test_bundle_equals_pytorch(embedded):
    parity = json.loads((embedded / "bundle/parity.json").read_text())
    assert parity["passed"] is True
    assert parity["documents"] >= 100
    assert parity["identical_summaries"] + parity["ties"] == parity["documents"]
    assert parity["max_abs_logit_difference"] <= 1e-3
    if not parity["ties"]:
        assert all(parity["delta"][kind] == 0 for kind in KINDS)


def test_plain_transformers_writes_with_the_merged_model(embedded):
    """What it writes scores as much as the extracted sentences of rouge.json, within three standard errors."""
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
    reported = json.loads((embedded / "rouge.json").read_text())["finetuned"]["rougeL"]
    assert abs(scores.mean() - reported) < 3 * scores.std() / np.sqrt(len(rows))


def test_base_model_is_under_30_mb():
    assert sum(path.stat().st_size for path in (ROOT / "models/base").iterdir()) < 30e6
