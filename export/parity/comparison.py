"""Parity: whether two systems say the same of real documents, link by link on the way to what is served."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import PreTrainedModel

from export.parity.systems import Said, System, Torch
from finetune.evaluation.rouge import KINDS, mean_interval, rouge_by_document
from finetune.evaluation.scoring import generation_config
from finetune.recipe import Export, Recipe
from finetune.reports.progress import track

TIE = 1e-4  # scores of PyTorch's two best tokens that lie nearer than this may fall either way
BATCH = 8  # documents whose logits are held at once, which take megabytes each
EXPONENTS = range(-30, 8)
EDGES = 2.0 ** np.arange(EXPONENTS.start, EXPONENTS.stop + 1)  # of the histogram of logit differences
SHOWN = 10  # documents that a failure names


@dataclass
class LogitDifference:
    """How far the logits of two systems lie apart where both are fed the same tokens."""

    largest: float = 0.0
    total: float = 0.0
    count: int = 0
    agreed: int = 0
    positions: int = 0
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(len(EDGES) - 1, dtype=np.int64))

    def add(self, left: np.ndarray, right: np.ndarray) -> None:
        """Adds one document's logits (steps, vocabulary)."""
        # NaN compares false with everything; it must not pass for small.
        difference = np.nan_to_num(np.abs(left - right), nan=np.inf)
        self.largest = max(self.largest, float(difference.max()))
        self.total, self.count = self.total + float(difference.sum()), self.count + difference.size
        self.agreed += int((left.argmax(-1) == right.argmax(-1)).sum())
        self.positions += len(left)
        # Bins are powers of two, which a number's exponent tells; sorting it into any others takes five times as long.
        exponents = (difference.reshape(-1).view(np.int32) >> 23) - 127
        exponents = exponents.clip(EXPONENTS.start, EXPONENTS.stop - 1) - EXPONENTS.start
        self.histogram += np.bincount(exponents, minlength=len(EXPONENTS))


@dataclass(frozen=True)
class Link:
    """Two neighbours of the chain compared; `report` is what parity.json says of them."""

    left: str
    right: str
    report: dict
    differing: list[int]  # documents that speak against it, worst first
    rouge: tuple[dict[str, np.ndarray], dict[str, np.ndarray]]  # by kind, (documents,)
    histogram: np.ndarray
    said: tuple[Said, Said]

    @property
    def title(self) -> str:
        return f"{self.left} = {self.right}"

    @property
    def passed(self) -> bool:
        return self.report["passed"]


class Comparison:
    """Systems compared on the same documents; what a system says of them is asked once.

    Links between PyTorch and anything are measured on the first `few` documents, links between two engines, which are
    faster, on all.
    """

    def __init__(self, recipe: Recipe, inputs: list[list[int]], documents: list[str], references: list[str]) -> None:
        self.recipe, self.inputs, self.documents, self.references = recipe, inputs, documents, references
        self.few = min(len(documents), recipe.export.documents)
        self._said: dict[tuple[str, int], Said] = {}

    def said(self, system: System, count: int) -> Said:
        """The system's summaries of the first `count` documents."""
        known = self._said.get((system.name, count))
        if known is None:
            known = system.say(self.documents[:count])
            self._said[system.name, count] = known
            self._said[system.name, self.few] = Said(known.tokens[: self.few], known.texts[: self.few])
        return known

    def fed(self, system: System) -> list[list[int]]:
        """What a decoder is fed to go over the system's first `few` summaries: the padding where one has no token."""
        return [tokens or [0] for tokens in self.said(system, self.few).tokens]

    def forget(self, system: System) -> None:
        """Asks again what a changed system says."""
        self._said = {key: said for key, said in self._said.items() if key[0] != system.name}

    def links(self, pairs: Sequence[tuple[System, System]], fed_by: System, exact: Sequence[bool]) -> list[Link]:
        """Compares each pair, all fed the tokens that `fed_by` says.

        Where `exact`, the two have to say the same, token for token and with like logits; else like things by ROUGE.
        """
        for left, right in pairs:
            count = self._count(left, right)
            self.said(left, count), self.said(right, count)
        differences = self._logit_differences(pairs, self.fed(fed_by))
        return [
            self._link(left, right, difference, strict)
            for (left, right), difference, strict in zip(pairs, differences, exact, strict=True)
        ]

    def _count(self, left: System, right: System) -> int:
        return self.few if isinstance(left, Torch) or isinstance(right, Torch) else len(self.documents)

    def _logit_differences(
        self, pairs: Sequence[tuple[System, System]], tokens: list[list[int]]
    ) -> list[LogitDifference]:
        """PyTorch sees all steps at once, an engine one after another through its caches, batched as it serves."""
        systems = list({id(system): system for pair in pairs for system in pair}.values())
        found = [LogitDifference() for _ in pairs]
        for first in track(range(0, self.few, BATCH), "logits, step by step"):
            part = slice(first, min(first + BATCH, self.few))
            seen = {id(system): system.logits(self.inputs[part], tokens[part]) for system in systems}
            for difference, (left, right) in zip(found, pairs, strict=True):
                for a, b in zip(seen[id(left)], seen[id(right)], strict=True):
                    difference.add(a, b)
        return found

    def _link(self, left: System, right: System, logits: LogitDifference, exact: bool) -> Link:
        count = self._count(left, right)
        a, b = self.said(left, count), self.said(right, count)
        rouge = tuple(rouge_by_document(said.texts, self.references[:count]) for said in (a, b))
        delta = {kind: rouge[1][kind] - rouge[0][kind] for kind in KINDS}
        unlike = [i for i in range(count) if (a.tokens[i], a.texts[i]) != (b.tokens[i], b.texts[i])]
        ties = []
        if exact and isinstance(left, Torch):
            ties = [i for i in unlike if is_tie(left.model, self.inputs[i], a.tokens[i], b.tokens[i], self.recipe)]
        report = {
            "link": f"{left.name} = {right.name}",
            "documents": count,
            "logit_documents": self.few,
            "identical_summaries": count - len(unlike),
            "ties": len(ties),
            "token_agreement": logits.agreed / logits.positions,
            "max_abs_logit_difference": _finite(logits.largest),
            "mean_abs_logit_difference": _finite(logits.total / logits.count),
            "rouge": [{kind: round(float(values[kind].mean()), 3) for kind in KINDS} for values in rouge],
            "delta": {kind: round(float(values.mean()), 3) for kind, values in delta.items()},
            "delta_ci95": {kind: [round(end, 3) for end in mean_interval(values)[1]] for kind, values in delta.items()},
        }
        if exact:
            differing = sorted(set(unlike) - set(ties))
            reasons = _exact_reasons(report, differing, self.recipe.export)
            limits = {"tolerance": self.recipe.export.tolerance}
        else:
            differing = sorted(unlike, key=lambda i: -abs(delta["rougeL"][i]))
            reasons = _close_reasons(report, self.recipe.export)
            limits = {
                "rouge_tolerance": self.recipe.export.rouge_tolerance,
                "rouge_interval": self.recipe.export.rouge_interval,
            }
        report |= {**limits, "differing": differing[:SHOWN], "reasons": reasons, "passed": not reasons}
        return Link(left.name, right.name, report, differing, rouge, logits.histogram, (a, b))


def _exact_reasons(report: dict, differing: list[int], limits: Export) -> list[str]:
    reasons = []
    if differing:
        reasons.append(f"{len(differing)} of {report['documents']} summaries differ ({documents(differing)})")
    largest = report["max_abs_logit_difference"]
    if largest is None or largest > limits.tolerance:
        shown = "are no numbers" if largest is None else f"differ by {largest:.2e}"
        reasons.append(f"logits {shown}, allowed {limits.tolerance:.0e}")
    return reasons


def _close_reasons(report: dict, limits: Export) -> list[str]:
    reasons = []
    if report["max_abs_logit_difference"] is None:
        reasons.append("logits are no numbers")
    for kind in KINDS:
        mean, (low, high) = report["delta"][kind], report["delta_ci95"][kind]
        if abs(mean) > limits.rouge_tolerance:
            reasons.append(f"{kind} differs by {mean:+.2f} points, allowed {limits.rouge_tolerance:.2f}")
        if max(-low, high) > limits.rouge_interval:
            reasons.append(
                f"the 95% interval of {kind}'s difference [{low:+.2f}, {high:+.2f}] leaves ±{limits.rouge_interval:.2f}"
            )
    return reasons


def documents(numbers: list[int]) -> str:
    """The first few, for a sentence."""
    return f"documents {', '.join(map(str, numbers[:SHOWN]))}{', ...' if len(numbers) > SHOWN else ''}"


def _finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if np.isfinite(value) else None


@torch.inference_mode()
def is_tie(model: PreTrainedModel, ids: list[int], expected: list[int], served: list[int], recipe: Recipe) -> bool:
    """Whether PyTorch itself was undecided where the two part; both with their end token where they have one.

    Greedy: its scores of the two tokens at the first step that differs; beams: its scores of the two whole summaries.
    """
    config = generation_config(recipe, model)
    source = torch.tensor([ids], device=model.device)
    if config.num_beams == 1:
        both = zip(expected, served, strict=False)
        step = next((i for i, (a, b) in enumerate(both) if a != b), min(len(expected), len(served)))
        config.output_scores = config.return_dict_in_generate = True
        scores = model.generate(source, generation_config=config, use_model_defaults=False).scores
        if step >= min(len(scores), len(served)):
            return False
        return float(scores[step][0].max() - scores[step][0][served[step]]) < TIE
    return abs(_sequence_score(model, ids, expected, config) - _sequence_score(model, ids, served, config)) < TIE


def _sequence_score(model: PreTrainedModel, ids: list[int], tokens: list[int], config) -> float:
    """Sum of log-probabilities over the length penalty, as beam search ranks finished sequences."""
    source, fed = (torch.tensor([row], device=model.device) for row in (ids, tokens))
    logits = model(input_ids=source, labels=fed).logits[0]
    chosen = logits.log_softmax(-1)[torch.arange(len(tokens)), fed[0]]
    return float(chosen.sum()) / len(tokens) ** config.length_penalty
