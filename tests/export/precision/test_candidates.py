"""The candidates of a precision: what stays in fp32 by the recipe, and what more if parity fails."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from export.__main__ import main
from export.precision.candidates import matching_nodes
from finetune.errors import UserError
from finetune.evaluation.scoring import summarize
from finetune.recipe_io import parse_recipe
from precis.bundle.names import DECODER, ENCODER
from tests.conftest import write_jsonl
from tests.export.support import edit_run


def test_patterns_select_nodes_by_name():
    names = ["encoder.block.0.q", "encoder.block.1.q", "lm_head"]
    assert matching_nodes([r"block\.1", "head"], names) == {"encoder.block.1.q", "lm_head"}
    assert matching_nodes([], names) == set()


@pytest.mark.parametrize(("pattern", "reason"), [("[", "is no regular expression"), ("decoder", "matches no layer")])
def test_pattern_that_selects_nothing_is_refused(pattern, reason):
    with pytest.raises(UserError, match=reason):
        matching_nodes([pattern], ["encoder.block.0.q"])


def test_int8_bundle_that_fails_parity_keeps_its_most_sensitive_layer_in_fp32(tiny_run, tmp_path, capsys):
    """One weight takes all the steps of its layer's 8 bits. The references are the model's own summaries."""
    run = shutil.copytree(tiny_run, tmp_path / "run")
    model = AutoModelForSeq2SeqLM.from_pretrained(run / "merged")
    with torch.no_grad():
        forward = model.encoder.block[1].layer[1].DenseReluDense
        forward.wo.weight.mul_(50)
        forward.wo.weight[:, 0] = forward.wo.weight.abs().max() * 300
        forward.wi.weight[0] = 0  # the outlier's input
    model.save_pretrained(run / "merged")
    info = json.loads((run / "run.json").read_text())
    info["recipe"]["lora"] = None
    info["recipe"]["export"] |= {"documents": 24, "engine_documents": 24}
    info["recipe"]["export"] |= {"rouge_tolerance": 20.0, "rouge_interval": 40.0}
    recipe = parse_recipe(info["recipe"])
    rows = [json.loads(line) for line in Path(recipe.data.validation).read_text().splitlines()]
    tokenizer = AutoTokenizer.from_pretrained(run / "merged")
    summaries = summarize(model, tokenizer, [row["document"] for row in rows], recipe, "")
    rows = [{**row, "summary": summary} for row, summary in zip(rows, summaries, strict=True)]
    info["recipe"]["data"]["validation"] = str(write_jsonl(tmp_path / "validation.jsonl", rows))
    (run / "run.json").write_text(json.dumps(info))
    assert main([str(run), "--precision", "int8"]) == 0
    first = next(
        line for line in capsys.readouterr().err.splitlines() if line.startswith("with 0 nodes kept in fp32: ")
    )
    assert "the next tokens' distributions diverge by" in first
    manifest = json.loads((run / "bundle-int8/manifest.json").read_text())
    assert "encoder.block.1.layer.1.DenseReluDense.wo" in manifest["kept_in_fp32"]
    assert manifest["parity"]["passed"] is True
    assert manifest["parity"]["pytorch"]["rougeL"] > 95


def test_fp16_bundle_of_an_overflowing_model_names_the_nodes_kept_in_fp32(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    model = AutoModelForSeq2SeqLM.from_pretrained(run / "merged")
    with torch.no_grad():  # by a power of two, which changes nothing in fp32
        forward = model.encoder.block[1].layer[1].DenseReluDense
        forward.wi.weight.mul_(2**18)
        forward.wo.weight.div_(2**18)
    model.save_pretrained(run / "merged")

    def edit(info):
        info["recipe"]["lora"] = None  # its adapter is for the weights as they were
        info["recipe"]["export"] |= {"rouge_tolerance": 3.0, "rouge_interval": 6.0}

    edit_run(run, edit)
    assert main([str(run), "--precision", "fp16"]) == 0
    manifest = json.loads((run / "bundle-fp16/manifest.json").read_text())
    assert "encoder.block.1.layer.1.DenseReluDense.wo" in manifest["kept_in_fp32"]
    assert "encoder.block.0.layer.1.DenseReluDense.wo" not in manifest["kept_in_fp32"]
    assert manifest["largest_activation"][ENCODER]["value"] > 65504 > manifest["largest_activation"][DECODER]["value"]
    assert manifest["parity"]["passed"] is True
    assert manifest["parity"]["max_abs_logit_difference"] < 0.1
