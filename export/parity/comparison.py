"""Parity of two systems: their summaries, logits and ROUGE on the same documents, and whether they are within limits.

The export compares a chain of systems, each with the next: base with adapter, merged model, fp32 bundle, and the int8
or fp16 bundle. One such comparison is a link.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from export.parity.limits import LISTED_DOCUMENTS, exact_failures, exact_limits, lossy_failures, lossy_limits
from export.parity.systems import Outputs, PyTorchSystem, System
from export.parity.ties import is_extraction_tie, is_tie
from finetune.evaluation.logit_difference import LogitDifference
from finetune.evaluation.rouge import KINDS, mean_interval, rouge_by_document
from finetune.recipe import Recipe
from finetune.reports.progress import track
from precis.bundle.reports import LinkReport
from precis.params import MAX_NEW_TOKENS

LOGIT_BATCH = 8  # documents whose logits are held in memory at once, several MB each


@dataclass(frozen=True)
class Link:
    """The comparison of two systems; `report` is its part of parity.json."""

    left: str
    right: str
    report: LinkReport
    differing: list[int]  # all documents that count against parity, worst first
    rouge: tuple[dict[str, np.ndarray], dict[str, np.ndarray]]  # left's and right's by metric, each (documents,)
    histogram: np.ndarray  # of the logit differences
    outputs: tuple[Outputs, Outputs]


class Comparison:
    """Compares systems on the same documents; each system summarizes them only once.

    Links with a PyTorch model are measured on the first `pytorch_documents` documents; links between two engines,
    which are faster, on all.
    """

    def __init__(self, recipe: Recipe, inputs: list[list[int]], documents: list[str], references: list[str]) -> None:
        """`inputs` are the token ids of `documents`, `references` their reference summaries."""
        self.recipe, self.inputs, self.documents, self.references = recipe, inputs, documents, references
        self.pytorch_documents = min(len(documents), recipe.export.documents)
        self._outputs: dict[tuple[str, int], Outputs] = {}

    def outputs(self, system: System, count: int) -> Outputs:
        """The system's summaries of the first `count` documents, generated at the first call."""
        known = self._outputs.get((system.name, count))
        if known is None:
            known = system.generate(self.documents[:count])
            few = self.pytorch_documents
            self._outputs[system.name, count] = known
            self._outputs[system.name, few] = known.first(few)
        return known

    def forced_tokens(self, system: System) -> list[list[int]]:
        """The tokens of the system's first summaries, for teacher forcing; padding where a summary has none."""
        # A written summary is never longer, but extracted sentences may be.
        return [tokens[:MAX_NEW_TOKENS] or [0] for tokens in self.outputs(system, self.pytorch_documents).tokens]

    def forget(self, system: System) -> None:
        """Drops the system's summaries, because its graphs have changed."""
        self._outputs = {key: outputs for key, outputs in self._outputs.items() if key[0] != system.name}

    def compare(self, pairs: Sequence[tuple[System, System]], forced_by: System, exact: bool) -> list[Link]:
        """A link for each pair. For the logits, all are fed the summaries of `forced_by`.

        With `exact` two systems have to generate the same tokens, ties aside, with logits within the tolerance; without
        it next tokens, their distributions and ROUGE have to be equal within limits.
        """
        for left, right in pairs:
            count = self._count(left, right)
            self.outputs(left, count)
            self.outputs(right, count)
        differences = self._logit_differences(pairs, self.forced_tokens(forced_by))
        return [
            self._link(left, right, difference, exact)
            for (left, right), difference in zip(pairs, differences, strict=True)
        ]

    def _count(self, left: System, right: System) -> int:
        with_pytorch = isinstance(left, PyTorchSystem) or isinstance(right, PyTorchSystem)
        return self.pytorch_documents if with_pytorch else len(self.documents)

    def _logit_differences(
        self, pairs: Sequence[tuple[System, System]], tokens: list[list[int]]
    ) -> list[LogitDifference]:
        """PyTorch computes all steps at once; an engine one after another through its caches, batched as it serves."""
        systems = {id(system): system for pair in pairs for system in pair}
        differences = [LogitDifference() for _ in pairs]
        for first in track(range(0, self.pytorch_documents, LOGIT_BATCH), "logits, step by step"):
            batch = slice(first, min(first + LOGIT_BATCH, self.pytorch_documents))
            logits = {key: system.logits(self.inputs[batch], tokens[batch]) for key, system in systems.items()}
            for difference, (left, right) in zip(differences, pairs, strict=True):
                for a, b in zip(logits[id(left)], logits[id(right)], strict=True):
                    difference.add(a, b)
        return differences

    def _link(self, left: System, right: System, logits: LogitDifference, exact: bool) -> Link:
        count = self._count(left, right)
        a, b = self.outputs(left, count), self.outputs(right, count)
        rouge = tuple(rouge_by_document(outputs.texts, self.references[:count]) for outputs in (a, b))
        delta = {kind: rouge[1][kind] - rouge[0][kind] for kind in KINDS}
        different = [i for i in range(count) if (a.tokens[i], a.texts[i]) != (b.tokens[i], b.texts[i])]
        ties: list[int] = []
        if exact and isinstance(left, PyTorchSystem):
            ties = [i for i in different if self._is_tie(left, a, b, i)]
        if exact:
            differing = sorted(set(different) - set(ties))
        else:
            differing = sorted(different, key=lambda i: -abs(delta["rougeL"][i]))
        export = self.recipe.export
        scores = _score_difference(a, b)
        limits = exact_limits(export) if exact else lossy_limits(export, extracts=bool(scores))
        measured = {
            "link": f"{left.name} = {right.name}",
            "documents": count,
            "logit_documents": self.pytorch_documents,
            "identical_summaries": count - len(different),
            "ties": len(ties),
            "token_agreement": logits.token_agreement,
            "max_abs_logit_difference": logits.max_abs,
            "mean_abs_logit_difference": logits.mean_abs,
            "max_logit": logits.max_logit,
            "divergence": logits.mean_divergence,
            **scores,
            "rouge": tuple({kind: round(float(values[kind].mean()), 3) for kind in KINDS} for values in rouge),
            "delta": {kind: round(float(values.mean()), 3) for kind, values in delta.items()},
            "delta_ci95": {kind: [round(end, 3) for end in mean_interval(values)[1]] for kind, values in delta.items()},
            **limits,
            "differing": differing[:LISTED_DOCUMENTS],
            "passed": True,
        }
        report = LinkReport.model_validate(measured)
        reasons = exact_failures(report, differing, export) if exact else lossy_failures(report, export)
        report = report.model_copy(update={"reasons": reasons, "passed": not reasons})
        return Link(left.name, right.name, report, differing, (rouge[0], rouge[1]), logits.histogram, (a, b))

    def _is_tie(self, left: PyTorchSystem, a: Outputs, b: Outputs, document: int) -> bool:
        if a.rankings and b.extracted:
            return is_extraction_tie(a.rankings[document], b.extracted[document])
        return is_tie(left.model, self.inputs[document], a.tokens[document], b.tokens[document], self.recipe)


def _score_difference(a: Outputs, b: Outputs) -> dict[str, float | None]:
    """Of extractions the largest score, and the largest difference where both chose a sentence; else nothing."""
    if a.extracted is None or b.extracted is None:
        return {}
    largest = difference = 0.0
    for left, right in zip(a.extracted, b.extracted, strict=True):
        scores = {(sentence.start, sentence.end): sentence.score for sentence in left}
        for sentence in right:
            score = scores.get((sentence.start, sentence.end), sentence.score)
            largest = max(largest, abs(score))
            difference = max(difference, np.nan_to_num(abs(score - sentence.score), nan=np.inf, posinf=np.inf))
    finite = bool(np.isfinite(difference))
    return {"max_abs_score_difference": difference if finite else None, "max_score": largest if finite else None}
