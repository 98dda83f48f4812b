"""What cannot be exported ends in one sentence, and the bundle that was there stays."""

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


@pytest.fixture
def run(tiny_run, tmp_path):
    return shutil.copytree(tiny_run, tmp_path / "run")


def state(run):
    return {path.name: path.read_bytes() for path in (run / "bundle").iterdir()}


def refused(run, capsys, *options):
    """The one sentence; nothing has changed."""
    before = state(run)
    assert main([str(run), "--precision", "fp32", *options]) == 1
    assert state(run) == before
    assert not list(run.glob(".*"))
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_weights_that_are_no_numbers(run, capsys):
    model = AutoModelForSeq2SeqLM.from_pretrained(run / "merged")
    with torch.no_grad():
        model.decoder.block[1].layer[0].SelfAttention.q.weight[3, 3] = torch.nan
    model.save_pretrained(run / "merged")
    sentence = refused(run, capsys)
    assert "decoder.block.1.layer.0.SelfAttention.q.weight" in sentence
    assert "learning_rate" in sentence


@pytest.mark.parametrize("how", ["too large", "other words", "another end"])
def test_a_tokenizer_that_belongs_to_another_model(run, capsys, how):
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
    assert "does not belong to the model" in refused(run, capsys)


def worse(run, interval):
    rouge = json.loads((run / "rouge.json").read_text())
    rouge["base"]["rougeL"], rouge["finetuned"]["rougeL"] = 14.0, 12.0
    rouge["paired_difference_ci95"]["rougeL"] = interval
    (run / "rouge.json").write_text(json.dumps(rouge))


def test_a_model_that_fine_tuning_made_worse(run, capsys):
    worse(run, [-3.1, -0.9])
    sentence = refused(run, capsys)
    assert "made ROUGE-L worse: 14.00 before, 12.00 after (95% interval of the difference [-3.10, -0.90])" in sentence
    assert "--accept-worse" in sentence


def test_a_model_that_is_worse_by_chance_or_knowingly_is_exported(run, capsys):
    worse(run, [-3.1, 0.2])
    before = state(run)
    assert main([str(run), "--precision", "fp32"]) == 0
    assert "made ROUGE-L worse" in capsys.readouterr().err
    assert state(run) != before


def test_a_base_that_is_gone(run, capsys):
    info = json.loads((run / "run.json").read_text())
    info["recipe"]["model"]["name"] = str(run / "gone")
    (run / "run.json").write_text(json.dumps(info))
    assert "model.name" in refused(run, capsys)


def test_cuda_where_there_is_none(run, capsys):
    if "CUDAExecutionProvider" in __import__("onnxruntime").get_available_providers():
        pytest.skip("this machine has it")
    assert "CUDAExecutionProvider" in refused(run, capsys, "--device", "cuda")


def test_a_full_disk(run, capsys):
    """A limit on the size of files stands for it: the system refuses the write halfway through the weights."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    size = (run / "bundle/shared.onnx_data").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, hard))
    try:
        sentence = refused(run, capsys)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert sentence.startswith("No bundle was written: ")
    assert "File too large" in sentence


@pytest.mark.slow
def test_a_kill_in_the_middle(run):
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
