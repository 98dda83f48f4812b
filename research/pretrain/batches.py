"""Batches of the task mixture. Step n depends on the seed and n alone, so that a run can be resumed."""

import random

import torch
from torch.utils.data import Dataset

from research.pretrain.recipe import PretrainRecipe, Stage
from research.pretrain.tasks import Tasks

ROUND = 16  # lengths are rounded up to a multiple: fewer shapes
SHORT_TARGET = 32
Example = tuple[list[int], list[int]]
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def collate(examples: list[Example]) -> Batch:
    """input_ids, attention_mask (rows, input length) and labels (rows, target length), padded with 0, 0 and -100.

    The fourth tensor has the positions of target tokens in the flattened labels: to find them on a GPU would block it.
    """
    inputs, labels = (_pad([pair[part] for pair in examples], value) for part, value in ((0, 0), (1, -100)))
    return inputs, (inputs != 0).long(), labels, (labels.flatten() != -100).nonzero()[:, 0]


def _pad(lists: list[list[int]], value: int) -> torch.Tensor:
    width = -(-max(map(len, lists)) // ROUND) * ROUND
    # Faster than writing a tensor row by row.
    return torch.tensor([row + [value] * (width - len(row)) for row in lists])


class Steps(Dataset):
    """Item n is the list of micro-batches of optimizer step n."""

    def __init__(self, recipe: PretrainRecipe, tasks: Tasks) -> None:
        self._recipe, self._tasks = recipe, tasks

    def __len__(self) -> int:
        return max(1, self._recipe.training.tokens // self._recipe.training.batch_tokens)

    def stage(self, step: int) -> Stage:
        """The stage that `step` falls into."""
        done = step / len(self)
        for stage in self._recipe.stages:
            done -= stage.share
            if done < 1e-9:
                return stage
        return self._recipe.stages[-1]

    def __getitem__(self, step: int) -> list[Batch]:
        training, stage = self._recipe.training, self.stage(step)
        draw = random.Random(f"{training.seed} {step}")
        names, shares = list(stage.mixture), list(stage.mixture.values())
        examples: list[Example] = []
        tokens = 0
        while tokens < training.batch_tokens:
            (task,) = draw.choices(names, shares)
            source, target = self._tasks.example(task, draw.choice(stage.document_tokens), draw)
            tokens += len(source) + len(target)
            examples.append((source, target))
        return [collate(group) for group in group_by_length(examples, training.micro_batch_tokens)]


def group_by_length(examples: list[Example], limit: int) -> list[list[Example]]:
    """Groups of examples of similar length, each of at most `limit` tokens after padding (or of one example)."""
    groups: list[list[Example]] = []
    # Long targets are separate from short ones, so that titles are not padded to the length of continuations.
    for long in (False, True):
        width, height, group = 0, 0, None
        similar = (pair for pair in examples if (len(pair[1]) > SHORT_TARGET) == long)
        for source, target in sorted(similar, key=lambda pair: len(pair[0])):
            width, height = max(width, len(source)), max(height, len(target))
            if group is None or (len(group) + 1) * (width + height) > limit:
                groups.append(group := [])
                width, height = len(source), len(target)
            group.append((source, target))
    return groups
