"""Batches of the mixture: what step n sees depends on the seed and n alone, so that a run resumes where it stopped."""

import random

import torch
from torch.utils.data import Dataset

from finetune.pretrain.recipe import PretrainRecipe, Stage
from finetune.pretrain.tasks import Tasks

ROUND = 16  # lengths are rounded up to a multiple: fewer shapes
SHORT_TARGET = 32
Example = tuple[list[int], list[int]]


def padded(examples: list[Example]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """input_ids, attention_mask (rows, input length) and labels (rows, target length), filled up with 0, 0 and -100."""
    width, height = (-(-max(len(pair[part]) for pair in examples) // ROUND) * ROUND for part in (0, 1))
    inputs = torch.zeros(len(examples), width, dtype=torch.long)
    labels = torch.full((len(examples), height), -100)
    for row, (source, target) in enumerate(examples):
        inputs[row, : len(source)] = torch.tensor(source)
        labels[row, : len(target)] = torch.tensor(target)
    return inputs, (inputs != 0).long(), labels


class Steps(Dataset):
    """Item n is the list of micro-batches of optimizer step n."""

    def __init__(self, recipe: PretrainRecipe, tasks: Tasks):
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

    def __getitem__(self, step: int) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
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
        return [padded(group) for group in grouped(examples, training.micro_batch_tokens)]


def grouped(examples: list[Example], limit: int) -> list[list[Example]]:
    """The examples in groups of like length that hold at most `limit` tokens when filled up (or one example)."""
    groups: list[list[Example]] = []
    # Long targets apart from short ones, so that titles are not filled up to the length of continuations.
    for example in sorted(examples, key=lambda pair: (len(pair[1]) > SHORT_TARGET, len(pair[0]))):
        group = [*groups[-1], example] if groups else [example]
        size = len(group) * sum(max(len(pair[part]) for pair in group) for part in (0, 1))
        if groups and size <= limit and (len(groups[-1][0][1]) > SHORT_TARGET) == (len(example[1]) > SHORT_TARGET):
            groups[-1].append(example)
        else:
            groups.append([example])
    return groups
