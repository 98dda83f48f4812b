"""Single sentences that need no model: the longest, the most central and, knowing the summary, the best.

The lead sentence is in `rouge`. All choose among the candidates that extraction chooses from.
"""

from functools import lru_cache

from rouge_score import rouge_scorer, tokenizers

from precis.text.candidates import candidate_sentences
from precis.text.sentence_features import centrality

KINDS = ("rouge1", "rouge2", "rougeL")


class _CachedTokenizer:
    """rouge_score's tokenizer with a cache, since each reference is compared with many sentences."""

    def __init__(self) -> None:
        self.tokenize = lru_cache(4096)(tokenizers.DefaultTokenizer(use_stemmer=True).tokenize)


_SCORER = rouge_scorer.RougeScorer(KINDS, tokenizer=_CachedTokenizer())


def longest_sentence(document: str) -> str:
    """The candidate with most words; "" if the document has none."""
    return max(_texts(document), key=lambda text: len(text.split()), default="")


def central_sentence(document: str) -> str:
    """The candidate that is nearest to the centroid; "" if the document has none."""
    texts = _texts(document)
    return texts[max(range(len(texts)), key=centrality(texts).__getitem__)] if texts else ""


def best_sentence(document: str, reference: str) -> str:
    """The candidate with the highest mean of ROUGE-1, -2 and -L against `reference`: what extraction can reach."""
    texts = _texts(document)
    scores = mean_rouge(texts, reference)
    return texts[max(range(len(texts)), key=scores.__getitem__)] if texts else ""


def mean_rouge(texts: list[str], reference: str) -> list[float]:
    """The mean of ROUGE-1, -2 and -L F1 of each text against `reference`, from 0 to 1."""
    return [sum(score.fmeasure for score in _SCORER.score(reference, text).values()) / len(KINDS) for text in texts]


def _texts(document: str) -> list[str]:
    return [candidate.text for candidate in candidate_sentences(document)]
