"""A fine-tuning run by its command: what it leaves, that merging changes nothing, and that a failure leaves nothing."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from peft import PeftModel
from rouge_score.rouge_scorer import RougeScorer
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from finetune.__main__ import main
from finetune.data.tokenizing import tokenized
from finetune.recipe_io import read_recipe
from finetune.training.model import load_base
from tests.conftest import ROOT, gazette, write_jsonl


def test_a_run_holds_what_the_next_room_needs(tiny_run):
    names = {path.name for path in tiny_run.iterdir()}
    assert names >= {"adapter", "merged", "rouge.json", "run.json", "training.png", "bundle"}
    assert not [path for path in tiny_run.rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".pkl")]
    config = json.loads((tiny_run / "adapter/adapter_config.json").read_text())
    assert (config["r"], config["peft_type"]) == (4, "LORA")
    rouge = json.loads((tiny_run / "rouge.json").read_text())
    assert rouge["documents"] == 24
    for system in ("base", "finetuned"):
        for kind in ("rouge1", "rouge2", "rougeL", "rougeLsum"):
            low, high = rouge[system]["ci95"][kind]
            assert 0 <= low <= rouge[system][kind] <= high <= 100
    said = json.loads((tiny_run / "summaries.json").read_text())
    assert said["reference"] == [row["summary"] for row in gazette("train")[40:64]]
    for system in ("base", "finetuned"):
        scores = RougeScorer(["rouge1"], use_stemmer=True)
        pairs = zip(said["reference"], said[system], strict=True)
        mean = 100 * np.mean([scores.score(reference, text)["rouge1"].fmeasure for reference, text in pairs])
        assert rouge[system]["rouge1"] == pytest.approx(mean, abs=0.006)
    info = json.loads((tiny_run / "run.json").read_text())
    assert info["versions"]["transformers"] == "4.57.6"
    assert (info["data"]["train_pairs"], info["data"]["validation_pairs"]) == (40, 24)


def test_base_with_adapter_equals_the_merged_model(tiny_run, tiny_base):
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


def test_documents_and_summaries_are_cut_with_their_end_token_and_counted(tiny_recipe):
    from datasets import Dataset

    recipe = read_recipe(tiny_recipe, ["data.max_document_tokens=16", "data.max_summary_tokens=8"])
    _, tokenizer = load_base(recipe.model)
    pairs = Dataset.from_dict({"document": ["one two three. " * 30, "short"], "summary": ["short", "long words " * 20]})
    encoded, cut = tokenized(pairs, tokenizer, recipe)
    assert cut == {"documents": 1, "summaries": 1}
    # transformers' own truncation is the reference
    expected = tokenizer("summarize: " + pairs["document"][0], truncation=True, max_length=16).input_ids
    assert encoded["input_ids"][0] == expected
    assert [len(row) for row in encoded["labels"]] == [len(tokenizer("short").input_ids), 8]
    assert encoded["labels"][1][-1] == tokenizer.eos_token_id


def test_the_same_seed_gives_the_same_weights(tiny_recipe, tiny_run, tmp_path):
    assert main([str(tiny_recipe), f"output={tmp_path / 'again'}"]) == 0
    first, again = ((run / "merged/model.safetensors").read_bytes() for run in (tiny_run, tmp_path / "again"))
    assert first == again


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["lora.rnak=3"], "lora.rank"),
        (["data.train=gone.jsonl"], "gone.jsonl"),
        (["data.document_column=article"], "data.document_column"),
        (["model.name=models/gone"], "model.name"),
        (["lora.targets=[nothing_like_it]"], "lora.targets"),
    ],
)
def test_a_mistake_exits_with_one_sentence_and_leaves_nothing(tiny_recipe, tmp_path, capsys, overrides, named):
    output = tmp_path / "run"
    assert main([str(tiny_recipe), f"output={output}", *overrides]) == 1
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert named in sentence
    assert not list(tmp_path.iterdir())


def test_an_empty_data_set_is_named(tiny_recipe, tmp_path, capsys):
    empty = write_jsonl(tmp_path / "empty.jsonl", [])
    assert main([str(tiny_recipe), f"output={tmp_path / 'run'}", f"data.train={empty}"]) == 1
    assert "empty.jsonl is empty" in capsys.readouterr().err


def test_weights_that_are_no_numbers_stop_the_run(tiny_recipe, tiny_base, tmp_path, capsys):
    broken = AutoModelForSeq2SeqLM.from_pretrained(tiny_base)
    with torch.no_grad():
        broken.decoder.final_layer_norm.weight[0] = float("nan")
    broken.save_pretrained(tmp_path / "broken")
    AutoTokenizer.from_pretrained(tiny_base).save_pretrained(tmp_path / "broken")
    assert main([str(tiny_recipe), f"output={tmp_path / 'run'}", f"model.name={tmp_path / 'broken'}"]) == 1
    assert "the loss is no longer a number" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_a_folder_that_is_no_run_is_not_overwritten(tiny_recipe, tmp_path, capsys):
    (tmp_path / "precious.txt").write_text("mine")
    assert main([str(tiny_recipe), f"output={tmp_path}"]) == 1
    assert "output" in capsys.readouterr().err
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_a_model_that_is_no_t5_is_refused(tiny_recipe, tmp_path, capsys):
    from transformers import BartConfig

    BartConfig().save_pretrained(tmp_path / "bart")
    assert main([str(tiny_recipe), f"output={tmp_path / 'run'}", f"model.name={tmp_path / 'bart'}"]) == 1
    assert "bart" in capsys.readouterr().err


def test_the_command_says_its_sentence_before_torch_is_loaded():
    command = [sys.executable, "-X", "importtime", "-m", "finetune", "recipes/embedded.yaml", "lora.rnak=3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Unknown key lora.rnak in the recipe; the nearest valid one is lora.rank." in done.stderr
    assert "| torch" not in done.stderr
