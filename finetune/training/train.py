"""Trains a T5 with transformers' Seq2SeqTrainer as the recipe's `training` section says."""

import math
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset
from peft import PeftModel
from torch.utils.tensorboard import SummaryWriter
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Seq2SeqTrainingArguments,
)
from transformers.integrations.integration_utils import (
    TensorBoardCallback,
    is_mlflow_available,
    is_wandb_available,
)

from finetune.recipe import Recipe
from finetune.reports.progress_table import ProgressTableCallback
from finetune.training.attention import IS_TRANSFORMERS_5, fused_attention, set_dropout
from finetune.training.callbacks import EvaluateSaveStopCallback
from finetune.training.precision import use_bf16
from finetune.training.trainer import FineTuner


@dataclass(frozen=True)
class TrainingResult:
    """The trained model and the Trainer's record. `tokens` counts those of all processes, without padding."""

    model: PreTrainedModel | PeftModel
    log: list[dict[str, float]]
    steps: int
    best_step: int
    tokens: int
    step_seconds: list[float]  # of this process, without evaluations and checkpoints

    @property
    def seconds(self) -> float:
        """Seconds spent in training steps."""
        return sum(self.step_seconds)


def train(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerFast,
    train_set: Dataset,
    validation_set: Dataset,
    recipe: Recipe,
    folder: Path,
    checkpoint: Path | None = None,
    score: Callable[[PreTrainedModel], dict[str, float]] | None = None,
) -> TrainingResult:
    """Trains the model in place; it ends with the weights of the best evaluation.

    Checkpoints and the TensorBoard log go to `folder`. Training resumes from `checkpoint` if one is given. `score`
    adds metrics to each evaluation; training.metric can be a ROUGE only if `score` returns it. Raises UserError.
    """
    if recipe.training.dropout is not None:
        set_dropout(model, recipe.training.dropout)
    # The Seq2SeqTrainingArguments set these and never unset them: the process's next run would inherit them.
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if use_bf16(recipe.training.precision) else "no"
    os.environ["ACCELERATE_DYNAMO_BACKEND"] = "inductor" if recipe.training.compile else "no"
    # transformers warns that it sorts checkpoints by step, which is what we want.
    warnings.filterwarnings("ignore", message="mtime may not be reliable")
    table = ProgressTableCallback()
    schedule = EvaluateSaveStopCallback(
        recipe.training.checkpoint_seconds, recipe.training.metric, recipe.training.patience
    )
    trainer = FineTuner(
        model=model,
        args=_arguments(recipe, folder),
        train_dataset=train_set,
        eval_dataset=validation_set,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model, pad_to_multiple_of=8),
        callbacks=[table, schedule, *_tensorboard(folder)],
        score=score,
    )
    trainer.remove_callback(PrinterCallback)
    try:
        with fused_attention(model):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        table.close()
    return TrainingResult(
        model=trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False),
        # A gradient's norm may overflow where its clipped values do not; JSON has no infinity.
        log=[{name: value for name, value in row.items() if math.isfinite(value)} for row in trainer.state.log_history],
        steps=trainer.state.global_step,
        best_step=trainer.state.best_global_step or trainer.state.global_step,
        tokens=trainer.tokens_seen(),
        step_seconds=trainer.timer.step_seconds,
    )


def _arguments(recipe: Recipe, folder: Path) -> Seq2SeqTrainingArguments:
    settings = recipe.training
    interval = "steps" if settings.evaluate_every else "epoch"
    # transformers 5 reads a fraction from warmup_steps.
    warmup: dict[str, Any] = {"warmup_steps" if IS_TRANSFORMERS_5 else "warmup_ratio": settings.warmup_ratio}
    return Seq2SeqTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.scheduler,
        **warmup,
        weight_decay=settings.weight_decay,
        label_smoothing_factor=settings.label_smoothing,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.eval_batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        gradient_checkpointing=settings.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        bf16=use_bf16(settings.precision),
        torch_compile=settings.compile,
        optim="adamw_torch_fused" if settings.fused_optimizer else "adamw_torch",
        use_cpu=not torch.cuda.is_available(),
        ddp_find_unused_parameters=False,
        ddp_timeout=24 * 3600,  # the other processes wait while the first one writes
        seed=settings.seed,
        data_seed=settings.seed,
        eval_strategy=interval,
        eval_steps=settings.evaluate_every,
        save_strategy=interval,
        save_steps=settings.evaluate_every or 500,
        metric_for_best_model=settings.metric,
        greater_is_better=settings.metric != "loss",
        load_best_model_at_end=True,
        save_total_limit=2,
        logging_steps=10,
        logging_nan_inf_filter=False,  # FineTuner stops there instead
        report_to=trackers(),
        run_name=recipe.output_folder.name,
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        dataloader_num_workers=settings.workers,
    )


def _tensorboard(folder: Path) -> list[TensorBoardCallback]:
    """The log in `folder`/tensorboard, of the first process only; the Trainer's own has the folder in its arguments."""
    if not PartialState().is_main_process:
        return []
    return [TensorBoardCallback(SummaryWriter(folder / "tensorboard"))]


def trackers() -> list[str]:
    """Weights & Biases and MLflow if they are installed."""
    names = []
    if is_wandb_available():
        names.append("wandb")
        # Without a key it would ask for one at the keyboard in the middle of an unattended run.
        if "WANDB_API_KEY" not in os.environ:
            os.environ.setdefault("WANDB_MODE", "offline")
    if is_mlflow_available():
        names.append("mlflow")
    return names
