"""Training arguments: gradient checkpointing and trackers."""

import json
import os
import sys

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModelForSeq2SeqLM

from finetune.training.train import trackers
from tests.support.finetuning import run_recipe


def test_gradient_checkpointing_saves_less_and_changes_nothing(tiny_recipe, tmp_path):
    saved, weights = {}, {}
    for setting in ("false", "true"):
        output = tmp_path / setting
        sizes = []

        def pack(tensor, sizes=sizes):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            run_recipe(
                tiny_recipe,
                output,
                f"training.gradient_checkpointing={setting}",
                "training.precision=fp32",
                "data.validation_documents=2",
            )
        saved[setting] = sum(sizes)
        weights[setting] = AutoModelForSeq2SeqLM.from_pretrained(output / "merged").state_dict()
    assert saved["true"] < 0.85 * saved["false"]  # most of it is the logits, which are saved in both cases
    for name, values in weights["false"].items():
        torch.testing.assert_close(weights["true"][name], values, atol=1e-5, rtol=1e-4)


def test_tensorboard_holds_the_curves(tiny_run):
    info = json.loads((tiny_run / "run.json").read_text())
    events = EventAccumulator(str(tiny_run / "tensorboard"))
    events.Reload()
    evaluations = [(row["step"], row["eval_loss"]) for row in info["log"] if "eval_loss" in row]
    assert [(event.step, pytest.approx(event.value)) for event in events.Scalars("eval/loss")] == evaluations
    assert {"train/loss", "train/tokens_per_second"} <= set(events.Tags()["scalars"])


def test_other_trackers_are_used_if_installed(tmp_path, monkeypatch):
    assert trackers() == []
    for name in ("wandb", "mlflow"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}/__init__.py").write_text("def run(): ...\n")
        (tmp_path / f"{name}-9.0.dist-info").mkdir()
        (tmp_path / f"{name}-9.0.dist-info/METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", "")
    monkeypatch.delenv("WANDB_MODE")
    try:
        assert trackers() == ["wandb", "mlflow"]
    finally:
        for name in ("wandb", "mlflow"):
            sys.modules.pop(name, None)
    assert os.environ["WANDB_MODE"] == "offline", "wandb would ask for a key at the keyboard"
