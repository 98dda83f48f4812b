"""A fine-tuning run through the command: its files, and failures that leave nothing behind."""

import fcntl
import json

import numpy as np
import pytest
import torch
import transformers
from rouge_score.rouge_scorer import RougeScorer
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from finetune.__main__ import main
from tests.conftest import gazette, write_jsonl
from tests.support.finetuning import run_recipe


def test_run_folder_holds_weights_scores_and_summaries(tiny_run):
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
    summaries = json.loads((tiny_run / "summaries.json").read_text())
    assert summaries["reference"] == [row["summary"] for row in gazette("train")[40:64]]
    for system in ("base", "finetuned"):
        scores = RougeScorer(["rouge1"], use_stemmer=True)
        pairs = zip(summaries["reference"], summaries[system], strict=True)
        mean = 100 * np.mean([scores.score(reference, text)["rouge1"].fmeasure for reference, text in pairs])
        assert rouge[system]["rouge1"] == pytest.approx(mean, abs=0.006)
    info = json.loads((tiny_run / "run.json").read_text())
    assert info["versions"]["transformers"] == transformers.__version__
    assert (info["data"]["train_pairs"], info["data"]["validation_pairs"]) == (40, 24)


def test_same_seed_gives_the_same_weights(tiny_recipe, tiny_run, tmp_path):
    assert main([str(tiny_recipe), f"output={tmp_path / 'again'}"]) == 0
    first, again = ((run / "merged/model.safetensors").read_bytes() for run in (tiny_run, tmp_path / "again"))
    assert first == again


def test_full_fine_tuning_writes_a_model_and_no_adapter(tiny_recipe, tiny_base, tmp_path):
    info = run_recipe(tiny_recipe, tmp_path / "full", "lora=null", "data.validation_documents=4")
    network = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "full/merged")
    assert info["trained_parameters"] == network.num_parameters()
    assert not (tmp_path / "full/adapter").exists()
    before = AutoModelForSeq2SeqLM.from_pretrained(tiny_base).state_dict()
    moved = [name for name, values in network.state_dict().items() if (values != before[name]).any()]
    assert {"shared.weight", "encoder.block.0.layer.0.SelfAttention.q.weight"} <= set(moved)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["lora.rnak=3"], "lora.rank"),
        (["data.train=gone.jsonl"], "gone.jsonl"),
        (["data.document_column=article"], "data.document_column"),
        (["model.name=models/gone"], "model.name"),
        (["model.name=recipes"], "model.name: recipes has no config.json of a model"),
        (["lora.targets=[nothing_like_it]"], "lora.targets"),
    ],
)
def test_mistake_exits_with_one_sentence_and_leaves_nothing(tiny_recipe, tmp_path, capsys, overrides, named):
    output = tmp_path / "run"
    assert main([str(tiny_recipe), f"output={output}", *overrides]) == 1
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert named in sentence
    assert not list(tmp_path.iterdir())


def test_empty_data_file_is_named(tiny_recipe, tmp_path, capsys):
    empty = write_jsonl(tmp_path / "empty.jsonl", [])
    assert main([str(tiny_recipe), f"output={tmp_path / 'run'}", f"data.train={empty}"]) == 1
    assert "empty.jsonl is empty" in capsys.readouterr().err


def test_weights_with_nan_stop_the_run(tiny_recipe, tiny_base, tmp_path, capsys):
    broken = AutoModelForSeq2SeqLM.from_pretrained(tiny_base)
    with torch.no_grad():
        broken.decoder.final_layer_norm.weight[0] = float("nan")
    broken.save_pretrained(tmp_path / "broken")
    AutoTokenizer.from_pretrained(tiny_base).save_pretrained(tmp_path / "broken")
    assert main([str(tiny_recipe), f"output={tmp_path / 'run'}", f"model.name={tmp_path / 'broken'}"]) == 1
    assert "the loss is no longer a number" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_infinite_gradient_norm_is_left_out_of_the_log(tiny_recipe, tmp_path):
    info = run_recipe(tiny_recipe, tmp_path / "run", "lora.alpha=1e30", "data.validation_documents=4")
    assert info["training_steps"] == 3
    assert not [row for row in info["log"] if "loss" in row and "grad_norm" in row]


def test_folder_without_a_run_is_not_overwritten(tiny_recipe, tmp_path, capsys):
    (tmp_path / "precious.txt").write_text("mine")
    assert main([str(tiny_recipe), f"output={tmp_path}"]) == 1
    assert "output" in capsys.readouterr().err
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_fault_after_training_loses_nothing_that_was_trained(tiny_recipe, tiny_run, tmp_path, capsys, monkeypatch):
    output = tmp_path / "run"

    def fault(*_):
        raise RuntimeError("a fault in what comes after")

    with monkeypatch.context() as patch:
        patch.setattr("finetune.run.merge", fault)
        with pytest.raises(RuntimeError):
            main([str(tiny_recipe), f"output={output}"])
    assert "the same command goes on from there" in " ".join(capsys.readouterr().err.split())
    weights = "adapter/adapter_model.safetensors"
    assert (tmp_path / ".run.checkpoints" / weights).read_bytes() == (tiny_run / weights).read_bytes()
    assert run_recipe(tiny_recipe, output)["resumed_from_step"] == 3
    for name in (weights, "merged/model.safetensors"):
        assert (output / name).read_bytes() == (tiny_run / name).read_bytes()


def test_metric_that_is_zero_in_every_evaluation_is_an_error(tiny_recipe, tmp_path, capsys):
    """The model never writes the one word of the summaries; `patience` ends the run, which is no choice either."""
    rows = [{"document": row["document"], "summary": "zzyzx"} for row in gazette("validation")[:4]]
    path = write_jsonl(tmp_path / "validation.jsonl", rows)
    settings = [f"output={tmp_path / 'run'}", f"data.validation={path}", "training.metric=rougeL"]
    assert main([str(tiny_recipe), *settings, "training.evaluate_every=1", "training.patience=1"]) == 1
    lines = " ".join(capsys.readouterr().err.split())
    assert "training.metric: rougeL is 0 in every evaluation" in lines
    assert (tmp_path / ".run.checkpoints/adapter/adapter_model.safetensors").is_file()


def test_metric_that_sees_no_words_is_refused_before_the_base_is_scored(tiny_recipe, tmp_path, capsys):
    rows = [{"document": row["document"], "summary": "— !?"} for row in gazette("validation")[:4]]
    path = write_jsonl(tmp_path / "validation.jsonl", rows)
    settings = [f"output={tmp_path / 'run'}", f"data.validation={path}", "training.metric=rougeL"]
    assert main([str(tiny_recipe), *settings]) == 1
    error = capsys.readouterr().err
    assert "training.metric: rougeL finds no words in the validation summaries" in error
    assert "summaries of the base" not in error


def test_second_run_into_one_folder_is_refused(tiny_recipe, tmp_path, capsys):
    with (tmp_path / ".run.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert main([str(tiny_recipe), f"output={tmp_path / 'run'}"]) == 1
    (sentence,) = capsys.readouterr().err.strip().splitlines()
    assert sentence.startswith("output: another run writes ")


@pytest.mark.parametrize("output", ["file/run", "file/deep/run", "/proc/run"])
@pytest.mark.parametrize("mode", [[], ["--check"]])
def test_output_that_cannot_be_written_is_refused_at_once(tiny_recipe, tmp_path, capsys, output, mode):
    (tmp_path / "file").write_text("mine")
    assert main([*mode, str(tiny_recipe), f"output={tmp_path / output}"]) == 1
    (sentence,) = capsys.readouterr().err.strip().splitlines()
    assert sentence.startswith("output: ")
    assert "cannot be written" in sentence


def test_cache_that_cannot_be_written_is_named(tiny_recipe, tmp_path, capsys, monkeypatch):
    import datasets

    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "file/cache")
    assert main([str(tiny_recipe), f"output={tmp_path / 'run'}"]) == 1
    sentence = capsys.readouterr().err.strip().splitlines()[-1]
    assert "the cache, cannot be written" in sentence
    assert "HF_HOME" in sentence
