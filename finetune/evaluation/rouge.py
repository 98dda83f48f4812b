"""ROUGE for each document, and bootstrap intervals over documents."""

import datasets
import evaluate
import numpy as np
from rouge_score import rouge_scorer

from precis.text.sentences import sentence_spans

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
RESAMPLES = 2000


class Rouge(evaluate.Metric):
    """The `rouge` metric of evaluate (rouge_score with stemming), which `evaluate.load` can only fetch from the hub.

    `compute` gives F1 in points of 0 to 100, one array of shape (documents,) for each kind.
    """

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description="ROUGE-1, -2, -L and -Lsum (Lin 2004), F1, stemmed",
            citation="Lin 2004, ROUGE: A Package for Automatic Evaluation of Summaries",
            inputs_description="predictions and references: one text for each document",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, np.ndarray]:
        scorer = rouge_scorer.RougeScorer(KINDS, use_stemmer=True)
        scores = [
            scorer.score(_lines(reference), _lines(prediction))
            for prediction, reference in zip(predictions, references, strict=True)
        ]
        return {kind: np.array([100 * score[kind].fmeasure for score in scores]) for kind in KINDS}


def _lines(text: str) -> str:
    """One sentence a line, which is what ROUGE-Lsum reads."""
    return "\n".join(text[start:end] for start, end in sentence_spans(text))


def lead_sentence(document: str) -> str:
    """The first sentence: the baseline that costs nothing."""
    return next((document[start:end] for start, end in sentence_spans(document)), "")


def rouge_by_document(predictions: list[str], references: list[str]) -> dict[str, np.ndarray]:
    """F1 in points for each kind, shape (documents,)."""
    return Rouge(keep_in_memory=True).compute(predictions=predictions, references=references)


def mean_interval(values: np.ndarray, seed: int = 0) -> tuple[float, list[float]]:
    """The mean of `values`, shape (documents,), and its 95% percentile-bootstrap interval [low, high].

    Two systems scored on the same documents are compared by the interval of their differences: a paired bootstrap
    (Koehn 2004).
    """
    drawn = np.random.default_rng(seed).integers(0, len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    return float(values.mean()), [float(low), float(high)]


def summarized(scores: dict[str, np.ndarray]) -> dict[str, object]:
    """Means and intervals in the form of rouge.json: `{rouge1, ..., ci95: {rouge1: [low, high], ...}}`."""
    intervals = {kind: mean_interval(values) for kind, values in scores.items()}
    return {
        **{kind: round(mean, 2) for kind, (mean, _) in intervals.items()},
        "ci95": {kind: [round(end, 2) for end in ends] for kind, (_, ends) in intervals.items()},
    }
