"""Loads a T5 and its tokenizer, and adds a LoRA adapter."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from accelerate import PartialState
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # documented, but not re-exported
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from finetune.errors import UserError
from finetune.recipe import Lora, Model
from finetune.training.attention import IS_TRANSFORMERS_5
from finetune.training.compatibility import restore_head, tokenizer_options, unscaled_by_5

MODEL_TYPES = ("t5", "mt5")
SPECIAL_TOKENS = ("decoder_start_token_id", "eos_token_id", "pad_token_id")
WRAPPERS = ("module.", "_orig_mod.")  # that DistributedDataParallel and torch.compile put before a weight's name
LISTED_WEIGHTS = 3  # that a message names
REASON_CHARACTERS = 300  # of a library's message, which may list all models that it knows


def load_base(source: Model) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The pre-trained model in fp32 and its fast tokenizer, from a folder or the hub. Raises UserError."""
    model = load_weights(source.name, "model.name", source.revision, dtype=torch.float32)
    return model, load_tokenizer(source.name, "model.name", source.revision)


def load_config(source: Model) -> PretrainedConfig:
    """The configuration of a T5 or mT5. Raises UserError.

    The file is judged before transformers makes an object of it, because some configurations then run code of another
    repository (CVE-2026-4372 and CVE-2026-5241, in transformers before 5.5).
    """
    with loading("model.name", source.name):
        content, _ = PretrainedConfig.get_config_dict(source.name, revision=source.revision)
    if (kind := content.get("model_type")) is None:
        raise UserError(
            f"model.name: {source.name} has no config.json of a model; name the folder of one, such as merged/ in that "
            "of a run."
        )
    if kind not in MODEL_TYPES:
        raise UserError(f"model.name: {source.name} is a {kind}, and Precis trains T5 (v1.0, v1.1, Flan-T5) and mT5.")
    if internal := [name for name in content if name.endswith("_implementation_internal")]:
        raise UserError(f"model.name: config.json of {source.name} sets {internal[0]}, which can run foreign code.")
    with loading("model.name", source.name):
        return _read_config(source.name, source.revision)


def _read_config(name: str | Path, revision: str | None = None) -> PretrainedConfig:
    config = AutoConfig.from_pretrained(name, revision=revision)
    if not IS_TRANSFORMERS_5 and unscaled_by_5(config):
        config.tie_word_embeddings = False
    return config


def load_tokenizer(name: str | Path, key: str, revision: str | None = None) -> PreTrainedTokenizerFast:
    """The fast tokenizer, padding on the right and cutting on the right as training and the engine do.

    Raises UserError, which begins with `key`, if there is only a slow one.
    """
    with loading(key, name):
        tokenizer = _read_tokenizer(name, revision=revision, padding_side="right", truncation_side="right")
    # Saved with the tokenizer, to files that the template's names choose (CVE-2026-9856); a T5 has none.
    tokenizer.chat_template = None
    if not tokenizer.is_fast:
        raise UserError(
            f"{key}: {name} has only a slow tokenizer ({type(tokenizer).__name__}), and serving needs a fast one "
            "(tokenizer.json). ByT5 is not supported; mT5 reads other languages."
        )
    return tokenizer


def _read_tokenizer(name: str | Path, **options: Any) -> Any:
    """The tokenizer that tokenizer.json describes, and without this file what AutoTokenizer makes of others."""
    if IS_TRANSFORMERS_5:
        # Its T5Tokenizer takes only the vocabulary of tokenizer.json, and so loses byte fallback and normalization.
        with suppress(ValueError):
            return PreTrainedTokenizerFast.from_pretrained(name, **options)
    else:
        from_5, special_tokens = tokenizer_options(name, options["revision"])
        options |= special_tokens
        if from_5:
            return PreTrainedTokenizerFast.from_pretrained(name, **options)
    return AutoTokenizer.from_pretrained(name, **options)


def load_weights(name: str | Path, key: str, revision: str | None = None, **options: Any) -> PreTrainedModel:
    """The model with all its weights from safetensors files; `options` are those of `from_pretrained`.

    Special tokens that generation_config.json lacks are those of config.json, and the other way round. Raises
    UserError, which begins with `key`, if a weight is missing, unknown or of another shape.
    """
    with loading(key, name):
        model, loaded = _read_weights(
            name,
            revision,
            ignore_mismatched_sizes=True,  # they are in the loading info, too
            **options,
        )
    # transformers 5 lists shapes with the names.
    loaded["mismatched_keys"] = [key if isinstance(key, str) else key[0] for key in loaded["mismatched_keys"]]
    kinds = {"missing": "missing", "unexpected": "unexpected", "mismatched": "of another shape"}
    if problems := [
        f"{len(names)} are {description} ({', '.join(sorted(names)[:LISTED_WEIGHTS])})"
        for kind, description in kinds.items()
        if (names := loaded[f"{kind}_keys"])
    ]:
        prefix = next((p for p in WRAPPERS if any(n.startswith(p) for n in loaded["unexpected_keys"])), None)
        hint = f"; save it without the prefix {prefix!r} of its names" if prefix else ""
        raise UserError(f"{key}: the weights of {name} are not those of its config.json: {', '.join(problems)}{hint}.")
    _reset_generation_parameters(model.config)
    for token in SPECIAL_TOKENS:
        for config, other in ((model.generation_config, model.config), (model.config, model.generation_config)):
            if getattr(config, token, None) is None:
                setattr(config, token, getattr(other, token, None))
    return model


def _read_weights(
    name: str | Path, revision: str | None, **options: Any
) -> tuple[PreTrainedModel, dict[str, list[Any]]]:
    """The model, and what from_pretrained says of missing and other weights."""
    config = _read_config(name, revision)
    model, loaded = AutoModelForSeq2SeqLM.from_pretrained(
        name,
        revision=revision,
        config=config,
        use_safetensors=True,  # a pickled checkpoint could run code
        output_loading_info=True,
        **options,
    )
    if not IS_TRANSFORMERS_5 and unscaled_by_5(config):
        restore_head(model, loaded["missing_keys"])
    return model, loaded


def _reset_generation_parameters(config: PretrainedConfig) -> None:
    """Sets the generation parameters that config.json of older models holds to their defaults.

    transformers would otherwise put them over those of the recipe when it saves the model.
    """
    defaults = vars(PretrainedConfig())
    model_settings = (*SPECIAL_TOKENS, "bos_token_id", "transformers_version", "output_hidden_states")
    for name in vars(GenerationConfig()):
        if name in defaults and name not in model_settings and not name.startswith("_"):
            setattr(config, name, defaults[name])


@contextmanager
def loading(key: str, name: str | Path) -> Iterator[None]:
    """Turns the libraries' errors in loading `name` into a UserError that begins with `key`."""
    try:
        if not Path(name).is_dir():
            validate_repo_id(str(name))
        yield
    except MemoryError:
        raise
    except HFValidationError as error:
        raise UserError(f"{key}: there is no folder {name}, and no model on the hub has such a name.") from error
    except Exception as error:  # tokenizers raises bare Exception, and a broken file can raise anything
        lines = str(error).splitlines() or [type(error).__name__]
        reason = shorten(" ".join(lines[:2]), REASON_CHARACTERS, placeholder=" …")
        raise UserError(f"{key}: {name} cannot be loaded: {reason.rstrip('.')}.") from error


def load_base_in_4bit(source: Model) -> PreTrainedModel:
    """The base in NF4 with double quantization, computing in bf16 (QLoRA, Dettmers et al. 2023)."""
    model, _ = _read_weights(
        source.name,
        source.revision,
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
    """The model with a LoRA adapter (Hu et al. 2021) on its linear layers.

    Raises UserError for targets that do not exist or share their weight with the embedding.
    """
    config = LoraConfig(
        task_type="SEQ_2_SEQ_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # PEFT only divides it by the rank
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        use_rslora=lora.rslora,
        use_dora=lora.dora,
    )
    embedding = model.get_input_embeddings().weight
    try:
        adapted = get_peft_model(model, config)
    except (ValueError, TypeError, re.error) as error:
        raise UserError(f"lora.targets: {str(error).splitlines()[0]}") from error
    if isinstance(lora.targets, list):
        names = [f".{name}" for name, _ in model.named_modules()]
        for target in lora.targets:
            if not any(name.endswith(f".{target}") for name in names):
                raise UserError(f"lora.targets: the model has no module {target}.")
    for name, module in adapted.named_modules():
        if isinstance(module, BaseTunerLayer):
            layer = module.get_base_layer()
            if isinstance(layer, torch.nn.Embedding) or layer.weight is embedding:
                name = name.removeprefix("base_model.model.")
                raise UserError(
                    f"lora.targets: {name} is an embedding or shares its weight; name linear layers (all-linear)."
                )
    return adapted
