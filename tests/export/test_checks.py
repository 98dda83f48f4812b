"""A run that cannot be exported: one sentence, and the previous bundle stays."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from export.__main__ import main
from tests.conftest import ROOT
from tests.export.support import edit_run


@pytest.fixture
def run(tiny_run, tmp_path):
    return shutil.copytree(tiny_run, tmp_path / "run")


def state(run):
    return {path.name: path.read_bytes() for path in (run / "bundle").iterdir()}


def refusal(run, capsys, *options):
    """The sentence that the export ends with; nothing on disk has changed."""
    before = state(run)
    assert main([str(run), "--precision", "fp32", *options]) == 1
    assert state(run) == before
    assert not list(run.glob(".*"))
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_weights_with_nan_are_refused_by_name(run, capsys):
    model = AutoModelForSeq2SeqLM.from_pretrained(run / "merged")
    with torch.no_grad():
        model.decoder.block[1].layer[0].SelfAttention.q.weight[3, 3] = torch.nan
    model.save_pretrained(run / "merged")
    sentence = refusal(run, capsys)
    assert "decoder.block.1.layer.0.SelfAttention.q.weight" in sentence
    assert "learning_rate" in sentence


@pytest.mark.parametrize("how", ["too large", "other words", "another end"])
def test_tokenizer_of_another_model_is_refused(run, capsys, how):
    folder = run / "merged"
    if how == "too large":
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.add_tokens([f"word{i}" for i in range(40)])
        tokenizer.save_pretrained(folder)
    elif how == "other words":
        text = (folder / "tokenizer.json").read_text(encoding="utf-8")
        assert "▁the" in text
        (folder / "tokenizer.json").write_text(text.replace('"▁the"', '"▁thex"'), encoding="utf-8")
    else:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.eos_token = "<unk>"
        tokenizer.save_pretrained(folder)
    assert "does not belong to the model" in refusal(run, capsys)


def worse(run, interval):
    rouge = json.loads((run / "rouge.json").read_text())
    rouge["base"]["rougeL"], rouge["finetuned"]["rougeL"] = 14.0, 12.0
    rouge["paired_difference_ci95"]["rougeL"] = interval
    (run / "rouge.json").write_text(json.dumps(rouge))


def test_model_that_fine_tuning_made_worse_is_refused(run, capsys):
    worse(run, [-3.1, -0.9])
    sentence = refusal(run, capsys)
    assert "made ROUGE-L worse: 14.00 before, 12.00 after (95% interval of the difference [-3.10, -0.90])" in sentence
    assert "--accept-worse" in sentence


def test_model_that_is_worse_by_chance_is_exported_with_a_warning(run, capsys):
    worse(run, [-3.1, 0.2])
    before = state(run)
    assert main([str(run), "--precision", "fp32"]) == 0
    assert "made ROUGE-L worse" in capsys.readouterr().err
    assert state(run) != before


def test_missing_base_model_is_refused(run, capsys):
    edit_run(run, lambda info: info["recipe"]["model"].update(name=str(run / "missing")))
    assert f"model.name: there is no folder {run / 'missing'}" in refusal(run, capsys)


def truncate_adapter(run):
    (run / "adapter/adapter_model.safetensors").write_bytes(b"{")


def change_rank(run):
    path = run / "adapter/adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"r": 8}))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncate_adapter, "Error while deserializing"),
        (change_rank, "size mismatch"),
        (lambda run: shutil.rmtree(run / "adapter"), "there is no folder"),
    ],
)
def test_damaged_adapter_is_one_sentence(run, capsys, damage, reason):
    damage(run)
    sentence = refusal(run, capsys)
    assert sentence.startswith("adapter: ")
    assert reason in sentence


def test_long_message_of_a_library_is_shortened(run, capsys):
    """transformers lists all models that it knows."""
    (run / "merged/config.json").unlink()
    assert len(refusal(run, capsys)) < 800


def test_cuda_device_without_cuda_is_refused(run, capsys):
    if "CUDAExecutionProvider" in __import__("onnxruntime").get_available_providers():
        pytest.skip("this machine has it")
    assert "CUDAExecutionProvider" in refusal(run, capsys, "--device", "cuda")


def test_full_disk_is_one_sentence(run, capsys):
    """Simulated by a limit on file sizes: the system refuses the write halfway through the weights."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    size = (run / "bundle/shared.onnx_data").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, hard))
    try:
        sentence = refusal(run, capsys)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert sentence.endswith(": File too large.")


@pytest.mark.slow
def test_kill_during_export_keeps_the_bundle_and_the_next_export_cleans_up(run):
    before = state(run)
    process = subprocess.Popen(
        [sys.executable, "-m", "export", str(run), "--precision", "fp32"], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 120
    while not (run / ".bundle.partial/manifest.json").exists():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert state(run) == before
    assert main([str(run), "--precision", "fp32"]) == 0
    assert not list(run.glob(".*"))


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()], ids=["missing", "empty"])
def test_folder_that_is_no_run_is_one_sentence(tmp_path, capsys, make):
    make(tmp_path / "run")
    assert main([str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "run" in error
