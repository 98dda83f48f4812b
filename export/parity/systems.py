"""The systems of a parity chain behind one face: PyTorch models and engines that say their summaries and logits."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from finetune.data.tokenizing import encode
from finetune.evaluation.scoring import generate
from finetune.recipe import Recipe
from finetune.reports.progress import track
from precis import Engine, GenerationParams

AT_ONCE = 128  # documents that an engine gets between two ticks of the progress bar


@dataclass(frozen=True)
class Said:
    """Summaries of documents in order: new tokens with the end token where there is one, and the text."""

    tokens: list[list[int]]
    texts: list[str]


class System(Protocol):
    name: str

    def say(self, documents: list[str]) -> Said:
        """A summary of each document."""

    def logits(self, inputs: list[list[int]], tokens: list[list[int]]) -> list[np.ndarray]:
        """Logits (steps, vocabulary) for each input where the decoder is fed the given tokens."""


class Torch:
    """A transformers model; `say` is its own `generate` under the recipe's settings."""

    def __init__(self, name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> None:
        self.name, self.model, self.tokenizer, self.recipe = name, model.eval(), tokenizer, recipe

    def say(self, documents: list[str]) -> Said:
        inputs = encode(self.tokenizer, documents, self.recipe)
        tokens = generate(self.model, self.tokenizer, inputs, self.recipe, f"summaries: {self.name}")
        return Said(tokens, [self.tokenizer.decode(row, skip_special_tokens=True) for row in tokens])

    @torch.inference_mode()
    def logits(self, inputs: list[list[int]], tokens: list[list[int]]) -> list[np.ndarray]:
        source = self.tokenizer.pad({"input_ids": inputs}, return_tensors="pt").to(self.model.device)
        width = max(map(len, tokens))
        # What stands after a row's own tokens does not reach back to them.
        labels = torch.tensor([[*row, *row[-1:] * (width - len(row))] for row in tokens], device=self.model.device)
        found = self.model(**source, labels=labels).logits.float().cpu().numpy()
        return [found[row, : len(fed)] for row, fed in enumerate(tokens)]


class Onnx:
    """An engine on a bundle, as it serves."""

    def __init__(self, name: str, engine: Engine) -> None:
        self.name, self.engine = name, engine

    def say(self, documents: list[str]) -> Said:
        end = self.engine.bundle.generation_config["eos_token_id"]
        end = end if isinstance(end, int) else end[0]
        said = []
        order = sorted(range(len(documents)), key=lambda i: len(documents[i]))
        for first in track(range(0, len(order), AT_ONCE), f"summaries: {self.name}"):
            chosen = [documents[i] for i in order[first : first + AT_ONCE]]
            said += self.engine.generate(chosen, GenerationParams(long_text="truncate"))
        said = [said[order.index(i)] for i in range(len(documents))]
        ended = [[*summary.token_ids, end] if summary.finish_reason == "end" else summary.token_ids for summary in said]
        return Said(ended, [summary.text for summary in said])

    def logits(self, inputs: list[list[int]], tokens: list[list[int]]) -> list[np.ndarray]:
        return self.engine.teacher_forced_logits(inputs, tokens)


@dataclass(frozen=True)
class Target:
    """Where bundles are proved."""

    device: str
    allow_cpu_fallback: bool = False

    @contextmanager
    def engine(self, name: str, folder: Path) -> Iterator[Onnx]:
        engine = Engine.load(folder, device=self.device, allow_cpu_fallback=self.allow_cpu_fallback)
        try:
            yield Onnx(name, engine)
        finally:
            engine.close()
