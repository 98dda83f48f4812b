"""Pairs as token ids: cut to the recipe's lengths and counted, and batches of like length drawn repeatably."""

from collections.abc import Iterator

import torch
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import PreTrainedTokenizerFast
from transformers.trainer_pt_utils import get_length_grouped_indices

from finetune.recipe import Recipe


def tokenized(pairs: Dataset, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> tuple[Dataset, dict[str, int]]:
    """Columns input_ids and labels, cut to the recipe's lengths, and how many rows were cut in either."""
    data = recipe.data

    def encode(batch: dict[str, list[str]]) -> dict[str, list]:
        inputs = tokenizer([recipe.model.prefix + text for text in batch["document"]]).input_ids
        labels = tokenizer(text_target=batch["summary"]).input_ids
        return {
            "input_ids": [_cut(ids, data.max_document_tokens) for ids in inputs],
            "labels": [_cut(ids, data.max_summary_tokens) for ids in labels],
            "document_tokens": list(map(len, inputs)),
            "summary_tokens": list(map(len, labels)),
        }

    # The tokenizer warns of long texts; they are counted here instead.
    limit, tokenizer.model_max_length = tokenizer.model_max_length, int(1e9)
    encoded = pairs.map(encode, batched=True, remove_columns=pairs.column_names)
    tokenizer.model_max_length = limit
    cut = {
        "documents": sum(length > data.max_document_tokens for length in encoded["document_tokens"]),
        "summaries": sum(length > data.max_summary_tokens for length in encoded["summary_tokens"]),
    }
    return encoded, cut


def _cut(ids: list[int], limit: int) -> list[int]:
    """At most `limit` tokens, the end token among them."""
    return ids if len(ids) <= limit else [*ids[: limit - 1], ids[-1]]


class LengthGrouped(Sampler[int]):
    """transformers' grouping by length, its batches shuffled, in an order that depends on the seed and the epoch alone.

    transformers goes from the longest to the shortest, up to fifty batches in a row; the steps of a schedule would then
    each meet their own lengths. The batch with the longest stays first, where memory is known to do, and a batch that
    is not full stays last.

    A run that resumes in the middle of an epoch meets the batches it would have met; transformers' own sampler draws
    from the global generator, whose state it cannot give back. All processes of a run draw the same order.
    """

    def __init__(self, lengths: list[int], batch_size: int, seed: int) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.number = 0  # of the epoch; not `epoch`, which accelerate would set to 0 after a resume

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.number)
        order = get_length_grouped_indices(self.lengths, self.batch_size, generator=generator)
        batches = [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]
        full = len(order) // self.batch_size
        shuffled = (torch.randperm(max(0, full - 1), generator=generator) + 1).tolist()
        for number in [0, *shuffled, *range(max(1, full), len(batches))]:
            yield from batches[number]
