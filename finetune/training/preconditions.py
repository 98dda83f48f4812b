"""Checks all that a recipe asks of its base model before any weight is read, for training and for --check alike."""

from importlib.util import find_spec
from typing import cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging

from finetune.errors import UserError
from finetune.evaluation.scoring import generation_config
from finetune.recipe import Model, Recipe
from finetune.training.model import SPECIAL_TOKENS, add_adapter, load_config, load_tokenizer, load_weights

HEAD_SIZE_MULTIPLE = 8  # ONNX Runtime's GroupQueryAttention


def check_model(recipe: Recipe) -> PreTrainedTokenizerFast:
    """The base's tokenizer. Raises UserError if the base cannot be trained, exported or served as `recipe` says.

    Of the weights only names and shapes are read.
    """
    logging.set_verbosity_error()
    source = recipe.model
    if source.load_in_4bit:
        _check_4bit()
    _check_architecture(source)
    tokenizer = load_tokenizer(source.name, "model.name", source.revision)
    model = load_weights(source.name, "model.name", source.revision, device_map="meta", dtype=torch.float32)
    check_tokenizer(model, tokenizer, f"model.name: the tokenizer of {source.name}")
    for token in SPECIAL_TOKENS:
        if getattr(model.config, token) is None:
            raise UserError(
                f"model.name: {source.name} has no {token} in its config.json; T5's is that of its padding."
            )
    shortest, longest = recipe.generation.min_new_tokens or 0, recipe.generation.max_new_tokens
    if shortest > longest:
        raise UserError(f"generation.min_new_tokens: {shortest} is more than generation.max_new_tokens, {longest}.")
    try:
        generation_config(recipe, model).validate(strict=True)
    except ValueError as error:
        raise UserError(f"generation: {' '.join(str(error).split())}") from error
    if recipe.lora:
        add_adapter(model, recipe.lora)
    return tokenizer


def _check_4bit() -> None:
    if not torch.cuda.is_available():
        raise UserError("model.load_in_4bit: QLoRA needs an NVIDIA GPU, and there is none; set it to false.")
    if find_spec("bitsandbytes") is None:
        raise UserError("model.load_in_4bit: QLoRA needs bitsandbytes; install it (pip install bitsandbytes).")


def _check_architecture(source: Model) -> None:
    config = load_config(source)
    architectures = config.architectures or []
    if not config.is_encoder_decoder or any("Encoder" in name for name in architectures):
        raise UserError(f"model.name: {source.name} is an encoder only; a summarizer needs a decoder.")
    if config.num_decoder_layers > config.num_layers:
        raise UserError(
            f"model.name: {source.name} has {config.num_decoder_layers} decoder layers and {config.num_layers} encoder "
            "layers; transformers cannot generate with a decoder that is deeper than the encoder."
        )
    if config.d_kv % HEAD_SIZE_MULTIPLE:
        raise UserError(
            f"model.name: {source.name} has d_kv={config.d_kv}, and ONNX Runtime's attention needs a multiple of "
            f"{HEAD_SIZE_MULTIPLE}."
        )


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
    if tokenizer("a").input_ids[-1:] != [tokenizer.eos_token_id]:
        raise UserError(f"{mismatch}it appends no end token to a text, and T5 needs one.")
