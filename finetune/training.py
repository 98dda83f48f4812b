"""LoRA fine-tuning of a T5 with PEFT and transformers' Seq2SeqTrainer."""

import math
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
)

from finetune.errors import UserError
from finetune.progress import TrainingBar
from finetune.recipe import Lora, Model, Recipe


def load_base(model: Model) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The pre-trained model in fp32 and its fast tokenizer, from a folder or the hub. Raises UserError."""
    try:
        config = AutoConfig.from_pretrained(model.name, revision=model.revision)
        if config.model_type not in ("t5", "mt5"):
            raise UserError(f"model.name: {model.name} is a {config.model_type}, and this pipeline is for T5.")
        tokenizer = AutoTokenizer.from_pretrained(model.name, revision=model.revision, use_fast=True)
        # safetensors only: a pickled checkpoint could run code.
        network = AutoModelForSeq2SeqLM.from_pretrained(
            model.name, revision=model.revision, dtype=torch.float32, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"model.name: {model.name} cannot be loaded: {reason}.") from error
    if len(tokenizer) > network.get_input_embeddings().num_embeddings:
        raise UserError(f"model.name: the tokenizer of {model.name} has more tokens than the model has embeddings.")
    return network, tokenizer


def add_adapter(network: PreTrainedModel, lora: Lora) -> PeftModel:
    """The network with a LoRA adapter (Hu et al. 2021) on its linear layers; the embeddings stay as they are."""
    config = LoraConfig(
        task_type="SEQ_2_SEQ_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
    )
    try:
        return get_peft_model(network, config)
    except ValueError as error:
        raise UserError(f"lora.targets: {str(error).splitlines()[0]}") from error


def tokenized(pairs: Dataset, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> tuple[Dataset, dict[str, int]]:
    """Columns input_ids and labels, cut to the recipe's lengths, and how many rows were cut in either."""
    data = recipe.data

    def encode(batch: dict[str, list[str]]) -> dict[str, list]:
        inputs = tokenizer([recipe.model.prefix + text for text in batch["document"]]).input_ids
        labels = tokenizer(text_target=batch["summary"]).input_ids
        return {
            "input_ids": [_cut(ids, data.max_document_tokens) for ids in inputs],
            "labels": [_cut(ids, data.max_summary_tokens) for ids in labels],
            "long_document": [len(ids) > data.max_document_tokens for ids in inputs],
            "long_summary": [len(ids) > data.max_summary_tokens for ids in labels],
        }

    # The tokenizer warns of long texts; they are counted here instead.
    limit, tokenizer.model_max_length = tokenizer.model_max_length, int(1e9)
    encoded = pairs.map(encode, batched=True, remove_columns=pairs.column_names)
    tokenizer.model_max_length = limit
    cut = {"documents": sum(encoded["long_document"]), "summaries": sum(encoded["long_summary"])}
    return encoded.remove_columns(["long_document", "long_summary"]), cut


def _cut(ids: list[int], limit: int) -> list[int]:
    """At most `limit` tokens, the end token among them."""
    return ids if len(ids) <= limit else [*ids[: limit - 1], ids[-1]]


def use_bf16(precision: str) -> bool:
    """Whether to compute in bf16; `auto` asks the hardware. T5 overflows in fp16 (transformers #4586)."""
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def train(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerFast,
    train_set: Dataset,
    validation_set: Dataset,
    recipe: Recipe,
    scratch: Path,
) -> list[dict[str, float]]:
    """Trains the adapter in place and returns the Trainer's log: one row a report, with step, loss or eval_loss.

    Raises UserError where the loss is no longer a number.
    """
    settings = recipe.training
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(scratch),
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
        bf16=use_bf16(settings.precision),
        use_cpu=not torch.cuda.is_available(),
        group_by_length=True,
        seed=settings.seed,
        data_seed=settings.seed,
        eval_strategy="epoch",
        save_strategy="no",
        logging_steps=10,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    trainer = Seq2SeqTrainer(
        model=model,
        args=arguments,
        train_dataset=train_set,
        eval_dataset=validation_set,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model, pad_to_multiple_of=8),
        callbacks=[TrainingBar()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    log = trainer.state.log_history
    # The Trainer keeps NaN out of its training loss; what broken weights say of the validation set it cannot hide.
    if not all(math.isfinite(row["eval_loss"]) for row in log if "eval_loss" in row):
        raise UserError("training.learning_rate: the loss is no longer a number; try a lower rate.")
    return log
