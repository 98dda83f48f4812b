"""An int8 bundle that fails its gate keeps the layers in fp32 that suffer most, until it passes."""

import json
import shutil
from pathlib import Path

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from export.__main__ import main
from finetune.evaluation.scoring import summarize
from finetune.recipe_io import parse_recipe
from tests.conftest import write_jsonl


def test_where_int8_fails_its_gate_the_layer_that_suffers_stays_in_fp32(tiny_run, tmp_path, capsys):
    """One weight takes all the steps of its layer's 8 bits; references are what the model says, so that ROUGE tells."""
    run = shutil.copytree(tiny_run, tmp_path / "run")
    model = AutoModelForSeq2SeqLM.from_pretrained(run / "merged")
    with torch.no_grad():
        forward = model.encoder.block[1].layer[1].DenseReluDense
        forward.wo.weight.mul_(50)
        forward.wo.weight[:, 0] = forward.wo.weight.abs().max() * 300
        forward.wi.weight[0] = 0  # what the one weight is multiplied with
    model.save_pretrained(run / "merged")
    info = json.loads((run / "run.json").read_text())
    info["recipe"]["lora"] = None
    info["recipe"]["export"] |= {"documents": 24, "engine_documents": 24}
    info["recipe"]["export"] |= {"rouge_tolerance": 20.0, "rouge_interval": 40.0}
    recipe = parse_recipe(info["recipe"])
    rows = [json.loads(line) for line in Path(recipe.data.validation).read_text().splitlines()]
    tokenizer = AutoTokenizer.from_pretrained(run / "merged")
    said = summarize(model, tokenizer, [row["document"] for row in rows], recipe, "")
    told = [{**row, "summary": summary} for row, summary in zip(rows, said, strict=True)]
    info["recipe"]["data"]["validation"] = str(write_jsonl(tmp_path / "told.jsonl", told))
    (run / "run.json").write_text(json.dumps(info))
    assert main([str(run), "--precision", "int8"]) == 0
    assert "with 0 nodes kept in fp32: rouge1 differs by -" in capsys.readouterr().err
    manifest = json.loads((run / "bundle-int8/manifest.json").read_text())
    assert "encoder.block.1.layer.1.DenseReluDense.wo" in manifest["kept_in_fp32"]
    assert manifest["parity"]["passed"] is True
    assert manifest["parity"]["pytorch"]["rougeL"] > 95
