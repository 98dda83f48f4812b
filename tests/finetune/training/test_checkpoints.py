"""Resuming a killed run."""

import json
import os
import signal
import subprocess
import time

import pytest

from finetune.training.checkpoints import find_checkpoint
from tests.conftest import ROOT
from tests.support.finetuning import finetune_command, losses

STEPS = ["training.max_steps=60", "training.batch_size=3", "training.checkpoint_seconds=0", "training.precision=fp32"]


@pytest.mark.slow
def test_killed_run_resumes_with_the_same_losses(tiny_recipe, tmp_path):
    settings = [*STEPS, "lora.dropout=0.1", "data.validation_documents=4"]
    threads = {**os.environ, "OMP_NUM_THREADS": "1"}
    complete, broken = tmp_path / "complete", tmp_path / "broken"
    unbroken = subprocess.Popen(finetune_command(tiny_recipe, complete, *settings), cwd=ROOT, env=threads)
    process = subprocess.Popen(finetune_command(tiny_recipe, broken, *settings), cwd=ROOT, env=threads)
    checkpoints = tmp_path / ".broken.checkpoints"
    end = time.monotonic() + 120
    while not (checkpoints / "checkpoint-30/trainer_state.json").is_file() and time.monotonic() < end:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert unbroken.wait(120) == 0
    assert not broken.exists()
    again = subprocess.run(finetune_command(tiny_recipe, broken, *settings), cwd=ROOT, env=threads, capture_output=True)
    assert again.returncode == 0, again.stderr
    assert b"Resuming from step" in again.stderr
    assert json.loads((broken / "run.json").read_text())["resumed_from_step"] >= 20
    assert losses(broken) == losses(complete)
    first, second = ((run / "merged/model.safetensors").read_bytes() for run in (complete, broken))
    assert first == second
    assert not checkpoints.exists()


def test_only_complete_checkpoints_of_the_same_run_are_resumed(tmp_path):
    folder = tmp_path / ".run.checkpoints"
    assert find_checkpoint(folder, {"seed": 0}) is None
    for step, state in ((9, "{}"), (10, "{}"), (20, '{"global_step": 2'), (30, None)):
        (folder / f"checkpoint-{step}").mkdir()
        if state is not None:
            (folder / f"checkpoint-{step}/trainer_state.json").write_text(state)
    assert find_checkpoint(folder, {"seed": 0}) == folder / "checkpoint-10"
    assert sorted(path.name for path in folder.glob("checkpoint-*")) == ["checkpoint-10", "checkpoint-9"]
    assert find_checkpoint(folder, {"seed": 1}) is None
    assert not list(folder.glob("checkpoint-*"))
