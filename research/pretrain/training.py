"""The pre-training loop: bf16, torch.compile, Muon, resumable from its checkpoint folder at any moment."""

import functools
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn import functional
from torch.utils.data import DataLoader
from transformers import T5ForConditionalGeneration

from finetune.files import replaced_folder
from finetune.reports.progress import progress_bar
from finetune.training.precision import use_bf16
from research.pretrain.batches import Batch, Steps
from research.pretrain.recipe import PretrainRecipe, Training

LOSS_STEPS = 10  # between two reads of the loss


def rate_factor(done: float, training: Training) -> float:
    """The factor on the learning rates when `done` (0 to 1) of the run is over: it rises, is level, and falls to 0."""
    return max(0.0, min(1.0, done / training.warmup if training.warmup else 1.0, (1 - done) / training.decay))


def make_optimizers(model: T5ForConditionalGeneration, training: Training) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024, update sizes matched to AdamW's) or AdamW for the matrices, AdamW for the rest."""
    matrices, rest = [], []
    for name, weight in model.named_parameters():
        inner = weight.ndim == 2 and "shared" not in name and "relative_attention_bias" not in name
        (matrices if inner else rest).append(weight)
    if training.optimizer == "muon":
        first = torch.optim.Muon(
            matrices, lr=training.learning_rate, weight_decay=training.weight_decay, adjust_lr_fn="match_rms_adamw"
        )
    else:
        first = torch.optim.AdamW(
            matrices, lr=training.learning_rate, weight_decay=training.weight_decay, betas=(0.9, 0.98), fused=True
        )
    second = torch.optim.AdamW(rest, lr=training.embedding_rate, weight_decay=0.0, betas=(0.9, 0.98), fused=True)
    return [first, second]


def cross_entropy(hidden: torch.Tensor, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy in nats of each row of `hidden` (rows, d_model) with its label (rows,)."""
    # T5 with tied embeddings scales before the head (Raffel et al. 2020, mesh-tensorflow).
    logits = functional.linear(hidden * hidden.shape[-1] ** -0.5, embeddings)
    return functional.cross_entropy(logits.float(), labels, reduction="none")


def losses(
    model: T5ForConditionalGeneration, batch: Batch, compiled: Callable[[Callable], Callable] = lambda part: part
) -> torch.Tensor:
    """Cross-entropy of each target token in nats, shape (target tokens,); padding is not computed."""
    inputs, mask, labels, targets = batch
    started = model._shift_right(labels)
    states = compiled(model.encoder)(input_ids=inputs, attention_mask=mask).last_hidden_state
    hidden = compiled(model.decoder)(
        input_ids=started, encoder_hidden_states=states, encoder_attention_mask=mask, use_cache=False
    ).last_hidden_state
    hidden, labels = (part.flatten(0, 1).index_select(0, targets) for part in (hidden, labels))
    return compiled(cross_entropy)(hidden, model.shared.weight, labels)


def train(
    model: T5ForConditionalGeneration,
    steps: Steps,
    recipe: PretrainRecipe,
    folder: Path,
    measure: Callable[[], dict[str, float]],
) -> list[dict[str, float]]:
    """Trains `model` in place, from `folder`/checkpoint if there is one; returns the history, a row for each report.

    Every `checkpoint_minutes`, `measure` returns the held-out losses by task, and a checkpoint is written. Raises
    FloatingPointError if the loss is not finite.
    """
    training = recipe.training
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).train()
    optimizers = make_optimizers(model, training)
    history = restore(folder, model, optimizers)
    start = history[-1]["step"] if history else 0
    compiled = (
        functools.cache(functools.partial(torch.compile, dynamic=True)) if training.compile else lambda part: part
    )
    # On a GPU the text is made in other processes; on a CPU training needs the cores.
    workers = max(1, len(os.sched_getaffinity(0)) - 2) if device.type == "cuda" else 0
    loader = DataLoader(steps, batch_size=None, sampler=range(start, len(steps)), num_workers=workers)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=use_bf16("auto"))
    rates = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    spent = history[-1]["seconds"] if history else 0.0
    began = reported = time.monotonic()
    recent: list[torch.Tensor] = []
    tokens = 0
    with progress_bar() as progress:
        line = progress.add_task("pre-training (steps)", total=len(steps), completed=start, note="")
        for step, batches in enumerate(loader, start + 1):
            factor = rate_factor(step / len(steps), training)
            groups = [group for optimizer in optimizers for group in optimizer.param_groups]
            for group, full in zip(groups, rates, strict=True):
                group["lr"] = full * factor
            targets = sum(len(batch[3]) for batch in batches)
            tokens += targets + sum(int(batch[1].sum()) for batch in batches)
            batches = [[part.to(device, non_blocking=True) for part in batch] for batch in batches]
            total = torch.zeros((), device=device)
            for batch in batches:
                with autocast:
                    loss = losses(model, batch, compiled).sum() / targets
                loss.backward()
                total += loss.detach()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            recent.append(total)
            report = time.monotonic() - reported > 60 * training.checkpoint_minutes or step == len(steps)
            if step % LOSS_STEPS == 0 or report:
                # Reading the loss blocks a GPU. No checkpoint is written if it is not finite.
                loss = torch.stack(recent[-LOSS_STEPS:]).mean().item()
                progress.update(line, completed=step, note=f"loss {loss:.3f}")
                if not math.isfinite(loss):
                    raise FloatingPointError(f"the loss at step {step} is not a number")
            if report:
                seconds = spent + time.monotonic() - began
                row = {
                    "step": step,
                    "seconds": round(seconds),
                    "tokens_per_second": round(tokens / (time.monotonic() - began)),
                    "loss": round(torch.stack(recent).mean().item(), 4),
                    **measure(),
                }
                history.append(row)
                progress.console.print(json.dumps(row))
                checkpoint(folder, model, optimizers, history)
                recent, reported = [], time.monotonic()
    return history


def checkpoint(
    folder: Path, model: T5ForConditionalGeneration, optimizers: list[torch.optim.Optimizer], history: list[dict]
) -> None:
    """Writes weights, optimizer states and history to `folder`/checkpoint, atomically."""
    tensors = {f"model.{name}": weight.detach().contiguous() for name, weight in model.named_parameters()}
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    with replaced_folder(folder / "checkpoint") as partial:
        save_file(tensors, partial / "state.safetensors", metadata={"history": json.dumps(history)})


def restore(folder: Path, model: T5ForConditionalGeneration, optimizers: list[torch.optim.Optimizer]) -> list[dict]:
    """Reads what `checkpoint` wrote into model and optimizers and returns the history, empty if there is none."""
    path = folder / "checkpoint/state.safetensors"
    if not path.exists():
        return []
    states: list[dict[int, dict]] = [{} for _ in optimizers]
    with safe_open(path, "pt") as file, torch.no_grad():
        for name in file.keys():  # noqa: SIM118 - safe_open is no mapping
            kind, rest = name.split(".", 1)
            if kind == "model":
                model.get_parameter(rest).copy_(file.get_tensor(name))
            else:
                number, index, key = rest.split(".", 2)
                states[int(number)].setdefault(int(index), {})[key] = file.get_tensor(name)
        history = json.loads(file.metadata()["history"])
    for optimizer, state in zip(optimizers, states, strict=True):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return history
