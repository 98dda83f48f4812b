"""The systems that parity compares, behind one interface: a PyTorch model, or the engine on a bundle."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from finetune.data.tokenizing import encode
from finetune.evaluation.ranking import Ranking, rank, sentence_tokens
from finetune.evaluation.scoring import generate, strip_padding
from finetune.evaluation.sentence_ranker import SentenceRanker
from finetune.recipe import Recipe
from finetune.reports.progress import track
from precis import Engine, GenerationParams
from precis.extraction import ExtractedSentence

PROGRESS_DOCUMENTS = 128  # documents that an engine gets between two updates of the progress bar


@dataclass(frozen=True)
class Outputs:
    """Summaries of documents, in order: the new token ids, with the end token if there is one, and the text.

    Of extractions also the selected sentences, and PyTorch's scores of all candidates.
    """

    tokens: list[list[int]]
    texts: list[str]
    extracted: list[list[ExtractedSentence]] | None = None
    rankings: list[Ranking] | None = None

    def first(self, count: int) -> "Outputs":
        """The outputs for the first `count` documents."""
        extracted, rankings = self.extracted and self.extracted[:count], self.rankings and self.rankings[:count]
        return Outputs(self.tokens[:count], self.texts[:count], extracted, rankings)


class System(Protocol):
    """What parity needs of a system."""

    name: str

    def generate(self, documents: list[str]) -> Outputs:
        """A summary of each document."""

    def logits(self, inputs: list[list[int]], tokens: list[list[int]]) -> list[np.ndarray]:
        """Logits (steps, vocabulary) for each input (token ids), with the decoder fed `tokens` (teacher forcing)."""


class PyTorchSystem:
    """A transformers model with its own `generate`, under the recipe's generation parameters.

    `ranker` is its sentence ranker, if it has one.
    """

    def __init__(
        self,
        name: str,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        recipe: Recipe,
        ranker: SentenceRanker | None = None,
    ) -> None:
        self.name, self.model, self.tokenizer, self.recipe = name, model.eval(), tokenizer, recipe
        self.ranker = ranker

    def generate(self, documents: list[str]) -> Outputs:
        if self.recipe.generation.mode == "extract":
            return self._extract(documents)
        inputs = encode(self.tokenizer, documents, self.recipe)
        tokens = generate(self.model, self.tokenizer, inputs, self.recipe, f"summaries: {self.name}")
        return Outputs(tokens, [self.tokenizer.decode(row, skip_special_tokens=True) for row in tokens])

    def _extract(self, documents: list[str]) -> Outputs:
        rankings = rank(self.model, self.tokenizer, documents, self.recipe, f"summaries: {self.name}", self.ranker)
        tokens, extracted = [], []
        for ranking in rankings:
            best = [(ranking.candidates[index], ranking.scores[index]) for index in ranking.selected]
            sentences = sentence_tokens(self.tokenizer, [candidate.text for candidate, _ in best])
            end = sentences[-1][-1:] if sentences else []
            tokens.append([token for sentence in sentences for token in sentence[:-1]] + end)
            extracted.append([ExtractedSentence(item.start, item.end, score) for item, score in best])
        return Outputs(tokens, [ranking.summary for ranking in rankings], extracted, rankings)

    @torch.inference_mode()
    def logits(self, inputs: list[list[int]], tokens: list[list[int]]) -> list[np.ndarray]:
        source = self.tokenizer.pad({"input_ids": inputs}, return_tensors="pt").to(self.model.device)
        # The decoder is causal: padding after a row's own tokens does not change their logits.
        labels = torch.tensor(right_padded(tokens), device=self.model.device)
        logits = self.model(**source, labels=labels).logits.float().cpu().numpy()
        return [logits[row, : len(own)] for row, own in enumerate(tokens)]


def right_padded(rows: list[list[int]]) -> list[list[int]]:
    """`rows` of one length, the shorter ones filled up with their last token."""
    width = max(map(len, rows))
    return [[*row, *row[-1:] * (width - len(row))] for row in rows]


class EngineSystem:
    """The engine on a bundle, as it serves."""

    def __init__(self, name: str, engine: Engine) -> None:
        self.name, self.engine = name, engine

    def generate(self, documents: list[str]) -> Outputs:
        settings = self.engine.bundle.generation_config
        ends, padding = settings["eos_token_id"], settings.get("pad_token_id")
        end = ends if isinstance(ends, int) else ends[0]
        order = sorted(range(len(documents)), key=lambda i: len(documents[i]))
        tokens: list[list[int]] = [[] for _ in documents]
        texts = [""] * len(documents)
        extracted: list[list[ExtractedSentence]] = [[] for _ in documents]
        for first in track(range(0, len(order), PROGRESS_DOCUMENTS), f"summaries: {self.name}"):
            batch = order[first : first + PROGRESS_DOCUMENTS]
            summaries = self.engine.generate(
                [documents[i] for i in batch], GenerationParams(long_text="truncate", passthrough=False, rerank="none")
            )
            for i, summary in zip(batch, summaries, strict=True):
                written = [*summary.token_ids, end] if summary.finish_reason == "end" else summary.token_ids
                tokens[i] = strip_padding(written, ends, padding)
                texts[i] = summary.text
                extracted[i] = summary.extracted or []
        return Outputs(tokens, texts, extracted if any(extracted) else None)

    def logits(self, inputs: list[list[int]], tokens: list[list[int]]) -> list[np.ndarray]:
        return self.engine.teacher_forced_logits(inputs, tokens)


@dataclass(frozen=True)
class Target:
    """The device on which bundles are proved."""

    device: str
    allow_cpu_fallback: bool = False

    @contextmanager
    def load(self, name: str, folder: Path) -> Iterator[EngineSystem]:
        """The bundle in `folder` on this device, closed at the end of the block. Raises EngineError."""
        engine = Engine.load(folder, device=self.device, allow_cpu_fallback=self.allow_cpu_fallback)
        try:
            yield EngineSystem(name, engine)
        finally:
            engine.close()
