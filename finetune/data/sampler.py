"""Batches of similar length in an order that depends on the seed and the epoch only."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices


class LengthGroupedSampler(Sampler[int]):
    """transformers' grouping by length with its batches shuffled.

    transformers' own sampler sorts up to fifty consecutive batches from long to short, so that neighbouring steps see
    the same lengths, and draws from the global generator, so that a run resumed in the middle of an epoch sees other
    batches. This one shuffles the batches and draws from the seed and the epoch. The batch with the longest row stays
    first, which shows at once whether memory suffices; an incomplete batch stays last. All processes draw the same
    order.
    """

    def __init__(self, lengths: list[int], batch_size: int, seed: int) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.epoch_index = 0  # not `epoch`, which accelerate would set to 0 after a resume

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch_index)
        order = get_length_grouped_indices(self.lengths, self.batch_size, generator=generator)
        batches = [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]
        full = len(order) // self.batch_size
        shuffled = (torch.randperm(max(0, full - 1), generator=generator) + 1).tolist()
        for index in [0, *shuffled, *range(max(1, full), len(batches))]:
            yield from batches[index]
