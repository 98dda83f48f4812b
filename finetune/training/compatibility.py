"""Reads with transformers 4 what transformers 5 saved: whether the output layer is shared, and the tokenizer."""

from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.models.auto.tokenization_auto import get_tokenizer_config

TOKENIZER_CLASS = "TokenizersBackend"  # transformers 5's name of PreTrainedTokenizerFast
HEAD = "lm_head.weight"


def unscaled_by_5(config: PretrainedConfig) -> bool:
    """Whether transformers 5 saved `config` and does not scale the decoder's last states.

    transformers 4 scales them if `tie_word_embeddings` is true. transformers 5 sets it for all T5s, leaves the output
    layer out of the file where it equals the embedding, and notes the scaling apart; its mT5 never scales.
    """
    major = (config.transformers_version or "4").split(".")[0]
    return int(major) >= 5 and not getattr(config, "scale_decoder_outputs", False)


def restore_head(model: PreTrainedModel, missing: list[str]) -> None:
    """Gives a model the embedding as its output layer where the file has none, and takes it from `missing`."""
    if HEAD in missing:
        embedding: Any = model.get_input_embeddings()  # typed as a module or a Tensor
        model.lm_head.weight = torch.nn.Parameter(embedding.weight.detach().clone())
        missing.remove(HEAD)


def tokenizer_options(name: str | Path, revision: str | None = None) -> tuple[bool, dict[str, Any]]:
    """Whether the tokenizer has the class that transformers 4 does not know, and options to read its special tokens."""
    settings = get_tokenizer_config(name, revision=revision)
    tokens = settings.get("extra_special_tokens")
    options = {"extra_special_tokens": {}, "additional_special_tokens": tokens} if isinstance(tokens, list) else {}
    return settings.get("tokenizer_class") == TOKENIZER_CLASS, options
