"""Training targets that stand in the source: a small model learns to pick before it invents."""

import hashlib
import re
from collections import Counter
from functools import lru_cache

import numpy as np
from datasets import Dataset
from rouge_score import rouge_scorer, tokenizers
from transformers import PreTrainedTokenizerFast

from finetune.reports.progress import track
from precis.text.sentences import split_sentences

KINDS = ("rouge1", "rouge2", "rougeL")
WORDS = range(8, 46)  # shorter ones say too little, longer ones are no summary
FITTED = 2000  # documents whose sentences are scored against their summaries; there are few features
PENALTY = 0.1  # of the regression's squared weights
_WORD = re.compile(r"\w+")
_NAME = re.compile(r"(?<=[^\W\d_] )[^\W\d_a-zß-ÿ]\w+")
_POINTS_BACK = re.compile(r"(?:And|But|He|It|She|So|That|They|This|Those|These)\b")
_SPEAKER = re.compile(r"\b(?:I|me|my|our|we|you|your)\b", re.IGNORECASE)


class _Words:
    """rouge_score's own words, stemmed; a reference is met once for each sentence and stemmed once."""

    def __init__(self) -> None:
        self.tokenize = lru_cache(4096)(tokenizers.DefaultTokenizer(use_stemmer=True).tokenize)


class Picker:
    """Chooses a document's sentence by a linear model of where it stands, how long it is and what it names.

    A trainable extractor (Kupiec, Pedersen and Chen, 1995), fitted by ridge regression to the sum of ROUGE-1, -2 and -L
    F1 that each sentence has against its document's summary. The closest sentence itself is a noisier target: which of
    two sentences a writer's wording happens to touch can't be learned, that it is a long one near the top can.
    """

    def __init__(self, documents: list[list[str]], references: list[str]) -> None:
        scorer = rouge_scorer.RougeScorer(KINDS, tokenizer=_Words())
        rows, scores = [], []
        pairs = list(zip(documents, references, strict=True))
        for found, reference in track(pairs, "source sentences and their ROUGE"):
            rows += features(found)
            scores += [sum(score.fmeasure for score in scorer.score(reference, text).values()) for text in found]
        x, y = np.array(rows), np.array(scores)
        self._weights = np.linalg.solve(x.T @ x + PENALTY * np.eye(x.shape[1]), x.T @ y) if rows else None

    def pick(self, found: list[str]) -> str | None:
        """The sentence of 8 to 45 words that promises most, the first of equals; None where none has the length."""
        fit = [i for i, sentence in enumerate(found) if len(sentence.split()) in WORDS]
        if not fit or self._weights is None:
            return None
        promised = np.array(features(found)) @ self._weights
        return found[max(fit, key=lambda i: promised[i])]


def features(found: list[str]) -> list[list[float]]:
    """What is known of each of a document's sentences, of about the same size: a row a sentence."""
    words = [_WORD.findall(sentence.lower()) for sentence in found]
    holders = Counter(word for group in words for word in set(group))
    rows = []
    for place, (sentence, group) in enumerate(zip(found, words, strict=True)):
        length = min(len(group), 60) / 20
        shared = sum(holders[word] - 1 for word in set(group) if len(word) > 3)
        rows.append(
            [
                1.0,
                *(float(place == index) for index in range(4)),
                float(place == len(found) - 1),
                place / len(found),
                length,
                length**2,
                shared / 20,
                shared / (1 + len(set(group))),
                len(_NAME.findall(sentence)) / 3,
                sum(word.isdigit() for word in group) / 2,
                float(any(mark in sentence for mark in '"“”«»')),
                float(sentence.endswith("?")),
                float(bool(_POINTS_BACK.match(sentence))),
                float(bool(_SPEAKER.search(sentence))),
            ]
        )
    return rows


def with_extracts(
    pairs: Dataset, share: float, tokenizer: PreTrainedTokenizerFast, prefix: str, max_tokens: int
) -> tuple[Dataset, int]:
    """`pairs` where that `share` of them, chosen by a hash, has a source sentence as summary; and how many.

    Only sentences that lie whole within the `max_tokens` that the model reads can be chosen, by a Picker of these very
    pairs. A document that has none of the right length keeps its summary.
    """
    documents, summaries = list(pairs["document"]), list(pairs["summary"])
    first = sorted(range(len(documents)), key=lambda i: _fraction(documents[i]))[:FITTED]
    picker = Picker([_read(documents[i], tokenizer, prefix, max_tokens) for i in first], [summaries[i] for i in first])
    chosen = [i for i, document in enumerate(documents) if _fraction(document) < share]
    replaced = 0
    for i in track(chosen, "source sentences as targets"):
        sentence = picker.pick(_read(documents[i], tokenizer, prefix, max_tokens))
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
    whole = split_sentences(document[:end])
    return whole[:-1] if document[end:].strip() and whole else whole
