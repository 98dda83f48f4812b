"""The trainer: a loss that is not finite, batches that do not fit, several processes."""

import json
import os
import re
import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM
from transformers.trainer_pt_utils import LabelSmoother

from finetune.__main__ import main
from finetune.training.trainer import token_loss
from tests.conftest import ROOT
from tests.support.finetuning import finetune_command, losses, run_recipe


def test_nan_loss_names_the_step_and_the_last_good_checkpoint(tiny_recipe, tmp_path, capsys, monkeypatch):
    from finetune.training.trainer import FineTuner

    compute = FineTuner.compute_loss

    def broken(self, *args, **kwargs):
        loss = compute(self, *args, **kwargs)
        return loss * float("nan") if self.model.training and self.state.global_step == 4 else loss

    monkeypatch.setattr(FineTuner, "compute_loss", broken)
    overrides = ["training.max_steps=9", "training.evaluate_every=3", "data.validation_documents=4"]
    assert main([str(tiny_recipe), f"output={tmp_path / 'run'}", *overrides]) == 1
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert "no longer a number at step 5" in sentence
    named = re.search(r"last good checkpoint is (\S+);", sentence)[1]
    assert named.endswith("checkpoint-3")
    assert os.path.isfile(f"{named}/adapter_model.safetensors")


def test_step_has_the_same_gradient_however_it_is_divided_into_batches(tiny_recipe, tmp_path):
    """The summaries differ in length, so that a mean of the batches' means would be another one."""
    settings = ["training.max_steps=1", "training.precision=fp32", "data.validation_documents=2"]
    settings += ["training.label_smoothing=0.1", "training.dropout=0"]
    rows = []
    for size in (8, 1):
        division = [f"training.batch_size={size}", f"training.gradient_accumulation={8 // size}"]
        log = run_recipe(tiny_recipe, tmp_path / str(size), *settings, *division)["log"]
        rows.append(next(row for row in log if "loss" in row))
    assert rows[1]["loss"] == pytest.approx(rows[0]["loss"], rel=1e-4)
    assert rows[1]["grad_norm"] == pytest.approx(rows[0]["grad_norm"], rel=1e-3)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_transformers_own_for_one_batch(tiny_base, smoothing):
    model = AutoModelForSeq2SeqLM.from_pretrained(tiny_base).eval()
    labels = torch.tensor([[5, 9, 33, 1], [8, 1, -100, -100]])
    with torch.no_grad():
        outputs = model(input_ids=torch.tensor([[5, 6, 1], [9, 8, 1]]), labels=labels)
    expected = LabelSmoother(epsilon=smoothing)(outputs, labels) if smoothing else outputs.loss
    assert float(token_loss(outputs, labels, label_smoothing=smoothing)) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.slow
def test_out_of_memory_names_a_batch_that_fits(tiny_recipe, tmp_path):
    """A real allocator that fails: the process may map two GiB more than it has at the first step, and no more."""
    script = """
import resource, sys
from finetune.__main__ import main
from finetune.training.trainer import FineTuner
step = FineTuner.training_step
def limited(self, *args, **kwargs):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**31, -1))
    return step(self, *args, **kwargs)
FineTuner.training_step = limited
sys.exit(main(sys.argv[1:]))
"""
    rows = [{"document": "one two three four. " * 40, "summary": "Some words."}] * 512
    (tmp_path / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    overrides = [
        f"output={tmp_path / 'run'}",
        f"data.train={tmp_path / 'long.jsonl'}",
        "data.validation_documents=2",
        "data.max_document_tokens=256",
        "training.batch_size=512",
        "training.precision=fp32",
    ]
    done = subprocess.run(
        [sys.executable, "-c", script, str(tiny_recipe), *overrides],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},
    )
    assert done.returncode == 1, done.stderr
    sentence = done.stderr.splitlines()[-1]
    match = re.fullmatch(
        r"training\.batch_size: 512 pairs of \d+ tokens do not fit into memory; (\d+) do, "
        r"with training\.gradient_accumulation=(\d+) for steps of the same size\.",
        sentence,
    )
    assert match, sentence
    assert 1 <= int(match[1]) <= 256
    assert int(match[1]) * int(match[2]) == 512
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_batch(tiny_recipe, tmp_path):
    """By accelerate's launcher, as on two GPUs; where there is none, the processes compute on the CPU."""
    base = f"model.name={ROOT / 'models/base'}"  # the tiny one has no word right
    overrides = [base, "training.max_steps=8", "training.precision=fp32", "training.metric=rouge1"]
    launched = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    two = [
        *launched,
        "-m",
        "finetune",
        str(tiny_recipe),
        f"output={tmp_path / 'two'}",
        "training.batch_size=2",
        *overrides,
    ]
    one = finetune_command(tiny_recipe, tmp_path / "one", "training.batch_size=4", *overrides)
    for words in (two, one):
        done = subprocess.run(
            words, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        assert done.returncode == 0, done.stderr
    info = {name: json.loads((tmp_path / name / "run.json").read_text()) for name in ("one", "two")}
    assert (info["one"]["processes"], info["two"]["processes"]) == (1, 2)
    for (step, _, alone), (same, _, shared) in zip(losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True):
        assert step == same
        assert shared == pytest.approx(alone, rel=0.02)
    scores = [json.loads((tmp_path / name / "rouge.json").read_text()) for name in ("one", "two")]
    assert scores[0]["base"] == scores[1]["base"]
    assert scores[1]["documents"] == 24
