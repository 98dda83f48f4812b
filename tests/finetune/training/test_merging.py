"""The merged model computes what base and adapter compute."""

import json

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from finetune.errors import UserError
from finetune.recipe_io import parse_recipe
from finetune.training.merging import merge
from finetune.training.model import load_base
from tests.conftest import gazette
from tests.support.finetuning import run_recipe


def test_merged_model_equals_base_with_adapter(tiny_run, tiny_base):
    tokenizer = AutoTokenizer.from_pretrained(tiny_run / "merged")
    base = AutoModelForSeq2SeqLM.from_pretrained(tiny_base)
    adapted = PeftModel.from_pretrained(AutoModelForSeq2SeqLM.from_pretrained(tiny_base), tiny_run / "adapter").eval()
    merged = AutoModelForSeq2SeqLM.from_pretrained(tiny_run / "merged").eval()
    row = gazette("validation")[0]
    batch = tokenizer("summarize: " + row["document"], return_tensors="pt")
    labels = tokenizer(row["summary"], return_tensors="pt").input_ids
    with torch.no_grad():
        logits = [model(**batch, labels=labels).logits.numpy() for model in (base, adapted, merged)]
    np.testing.assert_allclose(logits[1], logits[2], atol=1e-4)
    assert np.abs(logits[0] - logits[2]).max() > 1e-3, "training changed nothing"


def test_dora_adapter_merges(tiny_recipe, tmp_path):
    info = run_recipe(tiny_recipe, tmp_path / "dora", "lora.dora=true", "data.validation_documents=4")
    assert json.loads((tmp_path / "dora/adapter/adapter_config.json").read_text())["use_dora"]
    assert 0 < info["merge_max_logit_difference"] < 1e-3


def test_merge_is_judged_by_the_size_of_the_logits(tiny_run, tiny_base):
    content = json.loads((tiny_run / "run.json").read_text())
    rows = gazette("validation")[:2]
    documents, summaries = ([row[name] for row in rows] for name in ("document", "summary"))

    def merged(**export):
        recipe = parse_recipe({**content["recipe"], "export": export})
        base, tokenizer = load_base(recipe.model)
        adapted = PeftModel.from_pretrained(base, tiny_run / "adapter")
        return merge(adapted, tokenizer, documents, summaries, recipe)[1]

    difference = merged()
    assert 0 < difference.max_abs < 1e-5 * difference.max_logit
    assert 0 < content["merge_max_logit_difference"] < 1e-5 * content["merge_max_logit"]
    with pytest.raises(UserError, match=r"^lora: merging the adapter moves a logit by .*export\.tolerance"):
        merged(tolerance=1e-12)
