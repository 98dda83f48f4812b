"""Training targets that stand in the source: a small model learns to pick before it invents."""

import hashlib
from functools import lru_cache

from datasets import Dataset
from rouge_score import rouge_scorer, tokenizers
from transformers import PreTrainedTokenizerFast

from finetune.progress import track
from finetune.sentences import sentences

KINDS = ("rouge1", "rouge2", "rougeL")
WORDS = range(8, 46)  # shorter ones say too little, longer ones are no summary


class _Words:
    """rouge_score's own words, stemmed; a reference is met once for each sentence and stemmed once."""

    def __init__(self) -> None:
        self.tokenize = lru_cache(4096)(tokenizers.DefaultTokenizer(use_stemmer=True).tokenize)


def closest_sentence(found: list[str], reference: str, scorer: rouge_scorer.RougeScorer) -> str | None:
    """The sentence of 8 to 45 words with the highest sum of ROUGE-1, -2 and -L F1, the first of equals; or None.

    The oracle of extractive summarization (Nallapati et al. 2017), for one sentence.
    """
    fit = [sentence for sentence in found if len(sentence.split()) in WORDS]
    return max(
        fit,
        key=lambda sentence: sum(score.fmeasure for score in scorer.score(reference, sentence).values()),
        default=None,
    )


def with_extracts(
    pairs: Dataset, share: float, tokenizer: PreTrainedTokenizerFast, prefix: str, max_tokens: int
) -> tuple[Dataset, int]:
    """`pairs` where that `share` of them, chosen by a hash, has its closest source sentence as summary; and how many.

    Only sentences that lie whole within the `max_tokens` that the model reads can be chosen. A document that has
    none of the right length keeps its summary.
    """
    scorer = rouge_scorer.RougeScorer(KINDS, tokenizer=_Words())
    documents, summaries = list(pairs["document"]), list(pairs["summary"])
    chosen = [i for i, document in enumerate(documents) if _fraction(document) < share]
    replaced = 0
    for i in track(chosen, "source sentences as targets"):
        sentence = closest_sentence(_read(documents[i], tokenizer, prefix, max_tokens), summaries[i], scorer)
        if sentence is not None:
            summaries[i] = sentence
            replaced += 1
    return Dataset.from_dict({"document": documents, "summary": summaries}), replaced


def _fraction(document: str) -> float:
    """A number from 0 to 1 that depends on the document alone, and not as the split by hash does."""
    return int.from_bytes(hashlib.sha256(b"extract " + document.encode()).digest()[:8]) / 2**64


def _read(document: str, tokenizer: PreTrainedTokenizerFast, prefix: str, max_tokens: int) -> list[str]:
    """The sentences of what the model reads, without one that is cut."""
    found = tokenizer(prefix + document, truncation=True, max_length=max_tokens, return_offsets_mapping=True)
    end = max(stop for _, stop in found.offset_mapping) - len(prefix)
    whole = sentences(document[:end])
    return whole[:-1] if document[end:].strip() and whole else whole
