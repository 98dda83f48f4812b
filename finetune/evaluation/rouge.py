"""ROUGE scores per document, their means, and bootstrap intervals over documents."""

import unicodedata

import datasets
import evaluate
import numpy as np
import regex
from rouge_score import rouge_scorer, tokenizers

from precis.bundle.reports import Scores
from precis.text.sentences import sentence_spans

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
RESAMPLES = 2000
TOKENIZATION = (  # for reports
    "Its tokens are stemmed words of a-z and 0-9 (rouge-score's own) where a text is mostly in Latin script, Unicode "
    "words in other scripts, and single characters in Chinese, Japanese, Thai, Lao, Khmer and Burmese."
)
# A character of a script without spaces between words, or a word of any other script but Latin.
_OTHER_SCRIPTS = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*"
    r"|[[\p{L}\p{N}]--[\p{Latin}\p{Common}\p{Inherited}]][[\p{L}\p{M}\p{N}]--[\p{Latin}0-9]]*",
    regex.V1,
)
_LATIN_WORD = regex.compile(r"\p{Latin}+")
_LATIN_OR_OTHER = regex.compile(rf"[a-z0-9]+|{_OTHER_SCRIPTS.pattern}", regex.V1)


class ScriptTokenizer(tokenizers.Tokenizer):
    """rouge_score's tokenizer, which keeps only a-z and 0-9, extended to texts in other scripts than Latin.

    A text with more words in other scripts than in Latin is divided into Unicode words; scripts that put no spaces
    between words (Chinese, Japanese, Thai and others) into characters. Any other text gives rouge_score's own tokens.
    """

    def __init__(self) -> None:
        self._latin = tokenizers.DefaultTokenizer(use_stemmer=True)

    def tokenize(self, text: str) -> list[str]:
        """The tokens of `text` in lower case, Latin words stemmed."""
        if text.isascii() or len(_OTHER_SCRIPTS.findall(text)) <= len(_LATIN_WORD.findall(text)):
            return self._latin.tokenize(text)
        words = _LATIN_OR_OTHER.findall(unicodedata.normalize("NFC", text.lower()))
        return [token for word in words for token in (self._latin.tokenize(word) if word.isascii() else [word])]


class Rouge(evaluate.Metric):
    """evaluate's `rouge` metric (rouge_score with stemming), which `evaluate.load` can only fetch from the hub.

    `compute` returns F1 in points (0 to 100), an array of shape (documents,) for each kind.
    """

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description="ROUGE-1, -2, -L and -Lsum (Lin 2004), F1, stemmed; tokens by ScriptTokenizer",
            citation="Lin 2004, ROUGE: A Package for Automatic Evaluation of Summaries",
            inputs_description="predictions and references: one text for each document",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, np.ndarray]:
        scorer = rouge_scorer.RougeScorer(KINDS, tokenizer=ScriptTokenizer())
        scores = [
            scorer.score(_lines(reference), _lines(prediction))
            for prediction, reference in zip(predictions, references, strict=True)
        ]
        return {kind: np.array([100 * score[kind].fmeasure for score in scores]) for kind in KINDS}


def _lines(text: str) -> str:
    """The text with a line break after each sentence, as ROUGE-Lsum expects it."""
    # A wrapped line's break within a sentence would part it.
    return "\n".join(" ".join(text[start:end].split()) for start, end in sentence_spans(text))


def lead_sentence(document: str) -> str:
    """The document's first sentence, the usual baseline."""
    return next((" ".join(document[start:end].split()) for start, end in sentence_spans(document)), "")


def rouge_by_document(predictions: list[str], references: list[str]) -> dict[str, np.ndarray]:
    """F1 in points (0 to 100) for each kind, shape (documents,)."""
    return Rouge(keep_in_memory=True).compute(predictions=predictions, references=references)


def mean_interval(values: np.ndarray, seed: int = 0) -> tuple[float, list[float]]:
    """The mean of `values`, shape (documents,), and its 95% percentile-bootstrap interval [low, high].

    The interval of the differences between two systems on the same documents is a paired bootstrap (Koehn 2004).
    """
    samples = np.random.default_rng(seed).integers(0, len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[samples].mean(axis=1), [2.5, 97.5])
    return float(values.mean()), [float(low), float(high)]


def mean_scores(scores: dict[str, np.ndarray]) -> Scores:
    """Means and 95% intervals of the scores per document, `{kind: shape (documents,)}`, rounded to 0.01 points."""
    intervals = {kind: mean_interval(values) for kind, values in scores.items()}
    means = {kind: round(mean, 2) for kind, (mean, _) in intervals.items()}
    return Scores(**means, ci95={kind: rounded_interval(interval) for kind, (_, interval) in intervals.items()})


def rounded_interval(interval: list[float]) -> tuple[float, float]:
    """The interval's ends rounded to 0.01 points."""
    low, high = interval
    return round(low, 2), round(high, 2)
