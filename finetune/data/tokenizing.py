"""Tokenizes pairs and truncates them to the recipe's limits. Special tokens in a text are read as blanks."""

from typing import TypeVar

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from finetune.recipe import Recipe
from precis.text import without_special_tokens

T = TypeVar("T")
BATCH = 64  # pairs in memory at once, with all their tokens before the cut


def truncate(tokens: list[T], limit: int) -> list[T]:
    """The first `limit` tokens with the end token in the last place, as transformers truncates."""
    return tokens if len(tokens) <= limit else [*tokens[: limit - 1], tokens[-1]]


def encode(tokenizer: PreTrainedTokenizerFast, documents: list[str], recipe: Recipe) -> list[list[int]]:
    """Token ids of each document with prefix and end token, truncated to data.max_document_tokens."""
    limit = recipe.data.max_document_tokens
    return [truncate(ids, limit) for ids in _encode_whole(tokenizer, documents, recipe)]


def tokenize_pairs(pairs: Dataset, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> Dataset:
    """Columns `input_ids` and `labels`, truncated, and `document_tokens` and `summary_tokens`, lengths before that."""
    data = recipe.data

    def tokenize(batch: dict[str, list[str]]) -> dict[str, list]:
        inputs = _encode_whole(tokenizer, batch["document"], recipe)
        labels = tokenizer(text_target=list(map(without_special_tokens, batch["summary"])), verbose=False).input_ids
        return {
            "input_ids": [truncate(ids, data.max_document_tokens) for ids in inputs],
            "labels": [truncate(ids, data.max_summary_tokens) for ids in labels],
            "document_tokens": list(map(len, inputs)),
            "summary_tokens": list(map(len, labels)),
        }

    return pairs.map(
        tokenize, batched=True, batch_size=BATCH, writer_batch_size=BATCH, remove_columns=pairs.column_names
    )


def token_counts(encoded: Dataset, column: str) -> np.ndarray:
    """The numbers in a column of `tokenize_pairs`, (pairs,), without a Python object for each."""
    return np.asarray(encoded.with_format("numpy", columns=[column])[column][:])


def _encode_whole(tokenizer: PreTrainedTokenizerFast, documents: list[str], recipe: Recipe) -> list[list[int]]:
    # verbose=False: no warning about texts longer than the model's own limit; the data report counts them.
    inputs = [recipe.model.prefix + without_special_tokens(text) for text in documents]
    return tokenizer(inputs, verbose=False).input_ids
