"""The trainer: a loss that is not finite, batches that do not fit, several processes."""

import json
import os
import re
import subprocess
import sys

import pytest

from finetune.__main__ import main
from tests.conftest import ROOT
from tests.support.finetuning import finetune_command, losses


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
    overrides = ["training.max_steps=8", "training.precision=fp32", "training.metric=rouge1"]
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
    # Each process takes the mean over its own half, so that the two differ a little where lengths do.
    for (step, _, alone), (same, _, shared) in zip(losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True):
        assert step == same
        assert shared == pytest.approx(alone, rel=0.02)
    scores = [json.loads((tmp_path / name / "rouge.json").read_text()) for name in ("one", "two")]
    assert scores[0]["base"] == scores[1]["base"]
    assert scores[1]["documents"] == 24
