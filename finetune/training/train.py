"""LoRA fine-tuning of a T5 with PEFT and transformers' Seq2SeqTrainer."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from accelerate import PartialState
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Seq2SeqTrainingArguments,
)
from transformers.integrations import is_mlflow_available, is_wandb_available

from finetune.errors import UserError
from finetune.recipe import Lora, Model, Recipe
from finetune.reports.live import LiveTable
from finetune.training.attention import fused_attention, set_dropout
from finetune.training.precision import use_bf16
from finetune.training.trainer import FineTuner, Rhythm


def load_base(model: Model) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The pre-trained model in fp32 and its fast tokenizer, from a folder or the hub. Raises UserError."""
    tokenizer = load_tokenizer(model)
    with _unloadable_told(model):
        # safetensors only: a pickled checkpoint could run code.
        network = AutoModelForSeq2SeqLM.from_pretrained(
            model.name, revision=model.revision, dtype=torch.float32, use_safetensors=True
        )
    _matched(tokenizer, network, model.name)
    return network, tokenizer


def load_tokenizer(model: Model) -> PreTrainedTokenizerFast:
    """The model's fast tokenizer, if the model is a T5. Raises UserError."""
    with _unloadable_told(model):
        config = AutoConfig.from_pretrained(model.name, revision=model.revision)
        if config.model_type not in ("t5", "mt5"):
            raise UserError(f"model.name: {model.name} is a {config.model_type}, and this pipeline is for T5.")
        return AutoTokenizer.from_pretrained(model.name, revision=model.revision, use_fast=True)


@contextmanager
def _unloadable_told(model: Model) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"model.name: {model.name} cannot be loaded: {reason}.") from error


def _matched(tokenizer: PreTrainedTokenizerFast, network: PreTrainedModel, name: str) -> None:
    """Raises UserError where tokenizer and model are not each other's."""
    if len(tokenizer) > network.get_input_embeddings().num_embeddings:
        raise UserError(f"model.name: the tokenizer of {name} has more tokens than the model has embeddings.")
    for token in ("pad_token_id", "eos_token_id"):
        theirs, ours = getattr(tokenizer, token), getattr(network.config, token)
        if theirs != ours:
            raise UserError(
                f"model.name: in {name} the tokenizer's {token} is {theirs} and the model's {ours}; they do not belong "
                "together."
            )
    if tokenizer("a").input_ids[-1] != tokenizer.eos_token_id:
        raise UserError(f"model.name: the tokenizer of {name} puts no end token after a text, as T5 needs it.")


def load_base_in_4bit(model: Model) -> PreTrainedModel:
    """The base in NF4 with double quantization, computing in bf16 (QLoRA, Dettmers et al. 2023). Raises UserError."""
    if not torch.cuda.is_available():
        raise UserError("model.load_in_4bit: QLoRA needs an NVIDIA GPU, and there is none; set it to false.")
    if find_spec("bitsandbytes") is None:
        raise UserError("model.load_in_4bit: QLoRA needs bitsandbytes; install it (pip install bitsandbytes).")
    network = AutoModelForSeq2SeqLM.from_pretrained(
        model.name,
        revision=model.revision,
        use_safetensors=True,
        device_map={"": PartialState().device},
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        ),
    )
    return prepare_model_for_kbit_training(network, use_gradient_checkpointing=False)


def add_adapter(network: PreTrainedModel, lora: Lora) -> PeftModel:
    """The network with a LoRA adapter (Hu et al. 2021) on its linear layers; the embeddings stay as they are."""
    config = LoraConfig(
        task_type="SEQ_2_SEQ_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        use_rslora=lora.rslora,
        use_dora=lora.dora,
    )
    try:
        return get_peft_model(network, config)
    except ValueError as error:
        raise UserError(f"lora.targets: {str(error).splitlines()[0]}") from error


def trackers() -> list[str]:
    """TensorBoard always, Weights & Biases and MLflow where they are installed."""
    found = ["tensorboard"]
    if is_wandb_available():
        found.append("wandb")
        # Without a key it would ask for one at the keyboard, in the middle of a night's run.
        if "WANDB_API_KEY" not in os.environ:
            os.environ.setdefault("WANDB_MODE", "offline")
    if is_mlflow_available():
        found.append("mlflow")
    return found


@dataclass(frozen=True)
class Trained:
    """What training left besides the weights: the Trainer's log (a row a report), figures, and the bare network."""

    network: torch.nn.Module
    log: list[dict[str, float]]
    steps: int
    best_step: int
    tokens: int
    step_seconds: list[float]  # of this process's steps, without evaluations and checkpoints

    @property
    def seconds(self) -> float:
        return sum(self.step_seconds)


def train(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerFast,
    train_set: Dataset,
    validation_set: Dataset,
    recipe: Recipe,
    folder: Path,
    resume: Path | None = None,
    score: Callable[[torch.nn.Module], dict[str, float]] | None = None,
) -> Trained:
    """Trains the model in place and leaves it with the weights of the best evaluation.

    Checkpoints and the TensorBoard log go to `folder`; `resume` is one of its checkpoints. `score` makes further
    figures of an evaluation and has to be there where training.metric is a ROUGE. Raises UserError.
    """
    settings = recipe.training
    if settings.dropout is not None:
        set_dropout(model, settings.dropout)
    bf16 = use_bf16(settings.precision)
    # transformers sets them and never takes them back: the next run of this process would inherit them.
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if bf16 else "no"
    os.environ["ACCELERATE_DYNAMO_BACKEND"] = "inductor" if settings.compile else "no"
    rhythm = {"eval_strategy": "epoch", "save_strategy": "epoch"}
    if every := settings.evaluate_every:
        rhythm = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": every, "save_steps": every}
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.scheduler,
        warmup_ratio=settings.warmup_ratio,
        weight_decay=settings.weight_decay,
        label_smoothing_factor=settings.label_smoothing,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.eval_batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        gradient_checkpointing=settings.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        bf16=bf16,
        torch_compile=settings.compile,
        optim="adamw_torch_fused" if settings.fused_optimizer else "adamw_torch",
        use_cpu=not torch.cuda.is_available(),
        ddp_find_unused_parameters=False,
        ddp_timeout=24 * 3600,  # the others wait while the first one writes
        seed=settings.seed,
        data_seed=settings.seed,
        **rhythm,
        metric_for_best_model=settings.metric,
        greater_is_better=settings.metric != "loss",
        load_best_model_at_end=True,
        save_total_limit=2,
        logging_steps=10,
        logging_nan_inf_filter=False,  # the FineTuner stops there
        logging_dir=str(folder / "tensorboard"),
        report_to=trackers(),
        run_name=Path(recipe.output).name,
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        dataloader_num_workers=settings.workers,
    )
    # Checkpoints are then sorted by their numbers, which is as well.
    warnings.filterwarnings("ignore", message="mtime may not be reliable")
    table = LiveTable()
    trainer = FineTuner(
        model=model,
        args=arguments,
        train_dataset=train_set,
        eval_dataset=validation_set,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model, pad_to_multiple_of=8),
        callbacks=[table, Rhythm(settings.checkpoint_seconds, settings.metric, settings.patience)],
        score=score,
    )
    trainer.remove_callback(PrinterCallback)
    try:
        with fused_attention(model):
            trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    finally:
        table.close()
    return Trained(
        network=trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False),
        log=trainer.state.log_history,
        steps=trainer.state.global_step,
        best_step=trainer.state.best_global_step or trainer.state.global_step,
        tokens=trainer.tokens_seen(),
        step_seconds=trainer.clock.steps,
    )
