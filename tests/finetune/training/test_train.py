"""Training features: adapters' kinds, the best evaluation kept, early stopping, curves, and what a person sees."""

import io
import itertools
import json
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from finetune.__main__ import main
from finetune.data.sampler import LengthGroupedSampler
from finetune.recipe import Lora, Model
from finetune.recipe_io import read_recipe
from finetune.training.model import add_adapter, load_base
from finetune.training.train import trackers
from tests.conftest import ROOT


def run(tiny_recipe, output, *overrides) -> dict:
    """What run.json says after the command."""
    assert main([str(tiny_recipe), f"output={output}", *overrides]) == 0
    return json.loads((output / "run.json").read_text())


@pytest.mark.parametrize(("rslora", "scaling"), [(False, 8 / 16), (True, 8 / math.sqrt(16))])
def test_rslora_scales_by_the_root_of_the_rank(tiny_base, rslora, scaling):
    network, _ = load_base(Model(name=str(tiny_base)))
    model = add_adapter(network, Lora(rank=16, alpha=8.0, rslora=rslora))
    found = {layer.scaling["default"] for layer in model.modules() if getattr(layer, "scaling", None)}
    assert found == {scaling}


def test_dora_learns_magnitudes_and_merges(tiny_recipe, tmp_path):
    info = run(tiny_recipe, tmp_path / "dora", "lora.dora=true", "data.validation_documents=4")
    assert json.loads((tmp_path / "dora/adapter/adapter_config.json").read_text())["use_dora"]
    assert 0 < info["merge_max_logit_difference"] < 1e-3


def test_full_fine_tuning_leaves_a_model_and_no_adapter(tiny_recipe, tiny_base, tmp_path):
    info = run(tiny_recipe, tmp_path / "full", "lora=null", "data.validation_documents=4")
    network = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "full/merged")
    assert info["trained_parameters"] == network.num_parameters()
    assert not (tmp_path / "full/adapter").exists()
    before = AutoModelForSeq2SeqLM.from_pretrained(tiny_base).state_dict()
    moved = [name for name, values in network.state_dict().items() if (values != before[name]).any()]
    assert {"shared.weight", "encoder.block.0.layer.0.SelfAttention.q.weight"} <= set(moved)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is missing without a GPU")
def test_qlora_without_a_gpu_is_one_sentence(tiny_recipe, tmp_path, capsys):
    assert main([str(tiny_recipe), f"output={tmp_path / 'run'}", "model.load_in_4bit=true"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("model.load_in_4bit: QLoRA needs an NVIDIA GPU")
    assert not list(tmp_path.iterdir())


def test_gradient_checkpointing_keeps_less_and_changes_nothing(tiny_recipe, tmp_path):
    kept, weights = {}, {}
    for setting in ("false", "true"):
        output = tmp_path / setting
        sizes = []

        def pack(tensor, sizes=sizes):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            run(
                tiny_recipe,
                output,
                f"training.gradient_checkpointing={setting}",
                "training.precision=fp32",
                "data.validation_documents=2",
            )
        kept[setting] = sum(sizes)
        weights[setting] = AutoModelForSeq2SeqLM.from_pretrained(output / "merged").state_dict()
    assert kept["true"] < 0.85 * kept["false"]  # the logits, which are kept both times, are the most of it
    for name, values in weights["false"].items():
        torch.testing.assert_close(weights["true"][name], values, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_training_stops_early_on_rouge_and_keeps_the_best_evaluation(tiny_recipe, tmp_path):
    info = run(
        tiny_recipe,
        tmp_path / "run",
        f"model.name={ROOT / 'models/base'}",  # the tiny one has no word right
        "training.max_steps=40",
        "training.learning_rate=3e-3",
        "training.evaluate_every=2",
        "training.metric=rougeL",
        "training.patience=3",
    )
    scores = {row["step"]: row["eval_rougeL"] for row in info["log"] if "eval_rougeL" in row}
    assert info["best_step"] == max(scores, key=scores.get)
    assert info["training_steps"] == info["best_step"] + 2 * 3 < 40
    told = json.loads((tmp_path / "run/rouge.json").read_text())["finetuned"]["rougeL"]
    assert told == pytest.approx(scores[info["best_step"]], abs=0.02)


def test_the_kept_weights_have_the_lowest_validation_loss(tiny_recipe, tmp_path):
    info = run(
        tiny_recipe,
        tmp_path / "run",
        "training.max_steps=16",
        "training.batch_size=1",
        "training.learning_rate=0.9",
        "training.scheduler=constant",
        "training.warmup_ratio=0",
        "training.evaluate_every=1",
        "training.eval_batch_size=64",
        "training.precision=fp32",
    )
    losses = {row["step"]: row["eval_loss"] for row in info["log"] if "eval_loss" in row}
    assert len(losses) == 16
    assert info["best_step"] == min(losses, key=losses.get)
    recipe = read_recipe(tiny_recipe)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run/merged")
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "run/merged").eval()
    rows = [json.loads(line) for line in Path(recipe.data.validation).read_text().splitlines()]
    documents = [recipe.model.prefix + row["document"] for row in rows]
    batch = tokenizer(documents, truncation=True, max_length=64, padding=True, return_tensors="pt")
    labels = tokenizer([row["summary"] for row in rows], truncation=True, max_length=64, padding=True)
    labels = torch.tensor(labels.input_ids)
    with torch.no_grad():
        loss = model(**batch, labels=labels.masked_fill(labels == 0, -100)).loss.item()
    assert loss == pytest.approx(min(losses.values()), abs=2e-3)


def test_tensorboard_holds_the_curves(tiny_run):
    info = json.loads((tiny_run / "run.json").read_text())
    events = EventAccumulator(str(tiny_run / "tensorboard"))
    events.Reload()
    evaluations = [(row["step"], row["eval_loss"]) for row in info["log"] if "eval_loss" in row]
    assert [(event.step, pytest.approx(event.value)) for event in events.Scalars("eval/loss")] == evaluations
    assert {"train/loss", "train/tokens_per_second"} <= set(events.Tags()["scalars"])


def test_other_trackers_are_used_where_they_are_installed(tmp_path, monkeypatch):
    assert trackers() == ["tensorboard"]
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
        assert trackers() == ["tensorboard", "wandb", "mlflow"]
    finally:
        for name in ("wandb", "mlflow"):
            sys.modules.pop(name, None)
    assert os.environ["WANDB_MODE"] == "offline", "wandb would ask for a key at the keyboard"


def test_a_terminal_sees_loss_rouge_speed_and_time_left(tiny_recipe, tmp_path, monkeypatch):
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=140)
    monkeypatch.setattr("finetune.reports.live.console", terminal)
    run(tiny_recipe, tmp_path / "run", "training.metric=rouge1", "data.validation_documents=4")
    seen = screen.getvalue()
    for word in ("validation loss", "ROUGE-1", "ROUGE-L", "tokens/s", "3/3", "0:00:00"):
        assert word in seen, word


def test_the_order_of_an_epoch_depends_on_seed_and_number_alone():
    lengths = np.random.default_rng(0).integers(5, 500, size=200).tolist()
    first, again, other_seed = (LengthGroupedSampler(lengths, 8, seed) for seed in (1, 1, 2))
    orders = []
    for number in range(3):
        first.number = number
        orders.append(list(first))
    again.number = 2
    torch.rand(5)  # the global generator has no say
    assert list(again) == orders[2]
    assert sorted(orders[0]) == list(range(200))
    assert len({tuple(order) for order in (*orders, list(other_seed))}) == 4
    batches = [orders[0][i : i + 8] for i in range(0, 200, 8)]
    spread = np.mean([np.ptp([lengths[i] for i in batch]) for batch in batches])
    assert spread < 100, "batches are not of like length"


@pytest.mark.parametrize("count", [1, 7, 8, 9, 203])
def test_batches_of_like_length_come_in_no_order_of_length(count):
    lengths = np.random.default_rng(0).integers(5, 500, size=count).tolist()
    order = list(LengthGroupedSampler(lengths, 8, 0))
    assert sorted(order) == list(range(count))
    assert max(lengths) in [lengths[i] for i in order[:8]]  # what memory needs is known at the first step
    if count > 100:
        means = [np.mean([lengths[i] for i in order[at : at + 8]]) for at in range(8, 200, 8)]
        assert 7 <= sum(after > before for before, after in itertools.pairwise(means)) <= 17


def test_embedded_checkpoints_are_seldom():
    """The three minutes of the embedded recipe are not spent on saving."""
    assert read_recipe(ROOT / "recipes/embedded.yaml").training.checkpoint_seconds >= 30
