"""Loads a T5 and its tokenizer, checks that they belong together, and adds a LoRA adapter."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import cast

import torch
from accelerate import PartialState
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from finetune.errors import UserError
from finetune.recipe import Lora, Model


def load_base(source: Model) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The pre-trained model in fp32 and its fast tokenizer, from a folder or the hub. Raises UserError."""
    tokenizer = load_tokenizer(source)
    with _loading(source):
        # safetensors only: a pickled checkpoint could run code.
        model = AutoModelForSeq2SeqLM.from_pretrained(
            source.name, revision=source.revision, dtype=torch.float32, use_safetensors=True
        )
    check_tokenizer(model, tokenizer, f"model.name: the tokenizer of {source.name}")
    return model, tokenizer


def load_tokenizer(source: Model) -> PreTrainedTokenizerFast:
    """The model's fast tokenizer. Raises UserError if it cannot be loaded or the model is no T5."""
    with _loading(source):
        config = AutoConfig.from_pretrained(source.name, revision=source.revision)
        if config.model_type not in ("t5", "mt5"):
            raise UserError(f"model.name: {source.name} is a {config.model_type}, and this pipeline is for T5.")
        return AutoTokenizer.from_pretrained(source.name, revision=source.revision, use_fast=True)


@contextmanager
def _loading(source: Model) -> Iterator[None]:
    """Turns transformers' errors into a UserError."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"model.name: {source.name} cannot be loaded: {reason}.") from error


def check_tokenizer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, subject: str) -> None:
    """Raises UserError if the tokenizer does not belong to the model. `subject` names the tokenizer in the message."""
    mismatch = f"{subject} does not belong to the model: "
    rows = cast(torch.nn.Embedding, model.get_input_embeddings()).num_embeddings
    if len(tokenizer) > rows:
        raise UserError(f"{mismatch}it has {len(tokenizer)} tokens and the model {rows} embeddings.")
    for name in ("pad_token_id", "eos_token_id"):
        actual, expected = getattr(tokenizer, name), getattr(model.config, name)
        if actual != expected:
            raise UserError(f"{mismatch}its {name} is {actual} and the model's {expected}.")
    if tokenizer("a").input_ids[-1] != tokenizer.eos_token_id:
        raise UserError(f"{mismatch}it appends no end token to a text, and T5 needs one.")


def load_base_in_4bit(source: Model) -> PreTrainedModel:
    """The base in NF4 with double quantization, computing in bf16 (QLoRA, Dettmers et al. 2023). Raises UserError."""
    if not torch.cuda.is_available():
        raise UserError("model.load_in_4bit: QLoRA needs an NVIDIA GPU, and there is none; set it to false.")
    if find_spec("bitsandbytes") is None:
        raise UserError("model.load_in_4bit: QLoRA needs bitsandbytes; install it (pip install bitsandbytes).")
    model = AutoModelForSeq2SeqLM.from_pretrained(
        source.name,
        revision=source.revision,
        use_safetensors=True,
        device_map={"": PartialState().device},
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        ),
    )
    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)


def add_adapter(model: PreTrainedModel, lora: Lora) -> PeftModel:
    """The model with a LoRA adapter (Hu et al. 2021) on its linear layers; the embeddings get none."""
    config = LoraConfig(
        task_type="SEQ_2_SEQ_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # PEFT only divides it by the rank
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        use_rslora=lora.rslora,
        use_dora=lora.dora,
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise UserError(f"lora.targets: {str(error).splitlines()[0]}") from error
