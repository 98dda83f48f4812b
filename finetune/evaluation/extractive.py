"""Extractive training targets: a sentence of the document in place of its summary.

A small model learns to extract more easily than to rephrase.
"""

import hashlib
import re
from collections import Counter
from functools import lru_cache

import numpy as np
from datasets import Dataset
from rouge_score import rouge_scorer, tokenizers
from transformers import PreTrainedTokenizerFast

from finetune.data.tokenizing import truncate
from finetune.recipe import Recipe
from finetune.reports.progress import track
from precis.text.sentences import split_sentences

KINDS = ("rouge1", "rouge2", "rougeL")
TARGET_WORDS = range(8, 46)  # shorter sentences say too little, longer ones are no summary
FIT_DOCUMENTS = 2000  # that the selector is fitted to; it has few features
RIDGE = 0.1  # penalty on the squared weights
_WORD = re.compile(r"\w+")
_NAME = re.compile(r"(?<=[^\W\d_] )[^\W\d_a-zß-ÿ]\w+")
_BACK_REFERENCE = re.compile(r"(?:And|But|He|It|She|So|That|They|This|Those|These)\b")
_FIRST_OR_SECOND_PERSON = re.compile(r"\b(?:I|me|my|our|we|you|your)\b", re.IGNORECASE)


class _CachedTokenizer:
    """rouge_score's tokenizer with a cache, since each reference is compared with many sentences."""

    def __init__(self) -> None:
        self.tokenize = lru_cache(4096)(tokenizers.DefaultTokenizer(use_stemmer=True).tokenize)


class SentenceSelector:
    """Selects a document's sentence by a linear model of its position, its length and the names in it.

    A trainable extractor (Kupiec, Pedersen and Chen 1995), fitted by ridge regression to the sum of ROUGE-1, -2 and -L
    F1 of each sentence against the document's summary. The sentence with the highest ROUGE itself would be a noisier
    target: it depends on the wording of the summary, which a model cannot predict from the document.
    """

    def __init__(self, documents: list[list[str]], references: list[str]) -> None:
        """`documents` are lists of sentences, `references` their summaries."""
        scorer = rouge_scorer.RougeScorer(KINDS, tokenizer=_CachedTokenizer())
        rows, scores = [], []
        pairs = list(zip(documents, references, strict=True))
        for document, reference in track(pairs, "source sentences and their ROUGE"):
            rows += features(document)
            scores += [sum(score.fmeasure for score in scorer.score(reference, text).values()) for text in document]
        x, y = np.array(rows), np.array(scores)
        self._weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ y) if rows else None

    def select(self, document: list[str]) -> str | None:
        """The sentence of 8 to 45 words with the highest prediction; None if no sentence has that length."""
        candidates = [i for i, sentence in enumerate(document) if len(sentence.split()) in TARGET_WORDS]
        if not candidates or self._weights is None:
            return None
        predictions = np.array(features(document)) @ self._weights
        return document[max(candidates, key=lambda i: predictions[i])]


def features(document: list[str]) -> list[list[float]]:
    """The features of each sentence of a document, all of similar magnitude: shape (sentences, features)."""
    words = [_WORD.findall(sentence.lower()) for sentence in document]
    sentence_counts = Counter(word for group in words for word in set(group))
    rows = []
    for index, (sentence, group) in enumerate(zip(document, words, strict=True)):
        length = min(len(group), 60) / 20
        shared = sum(sentence_counts[word] - 1 for word in set(group) if len(word) > 3)
        rows.append(
            [
                1.0,
                *(float(index == first) for first in range(4)),
                float(index == len(document) - 1),
                index / len(document),
                length,
                length**2,
                shared / 20,
                shared / (1 + len(set(group))),
                len(_NAME.findall(sentence)) / 3,
                sum(word.isdigit() for word in group) / 2,
                float(any(mark in sentence for mark in '"“”«»')),
                float(sentence.endswith("?")),
                float(bool(_BACK_REFERENCE.match(sentence))),
                float(bool(_FIRST_OR_SECOND_PERSON.search(sentence))),
            ]
        )
    return rows


def use_extractive_targets(pairs: Dataset, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> tuple[Dataset, int]:
    """Replaces the summaries of a share of `pairs` (data.extractive_share) by sentences of their documents.

    Returns the pairs and the number of replaced summaries. A hash of the document decides whether its summary is
    replaced. Only sentences that lie completely in the part of the document that the model reads are candidates. A
    document without a candidate keeps its summary.
    """
    documents, summaries = list(pairs["document"]), list(pairs["summary"])
    sample = sorted(range(len(documents)), key=lambda i: _fraction(documents[i]))[:FIT_DOCUMENTS]
    selector = SentenceSelector(
        [_visible_sentences(documents[i], tokenizer, recipe) for i in sample], [summaries[i] for i in sample]
    )
    replaced = 0
    selected = [i for i, document in enumerate(documents) if _fraction(document) < recipe.data.extractive_share]
    for i in track(selected, "source sentences as targets"):
        sentence = selector.select(_visible_sentences(documents[i], tokenizer, recipe))
        if sentence is not None:
            summaries[i] = sentence
            replaced += 1
    return Dataset.from_dict({"document": documents, "summary": summaries}), replaced


def _fraction(document: str) -> float:
    """A number from 0 to 1 that depends on the document only, and not on its split."""
    return int.from_bytes(hashlib.sha256(b"extract " + document.encode()).digest()[:8]) / 2**64


def _visible_sentences(document: str, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> list[str]:
    """The complete sentences of the part of `document` that the model reads."""
    encoding = tokenizer(recipe.model.prefix + document, return_offsets_mapping=True, verbose=False)
    offsets = truncate(encoding.offset_mapping, recipe.data.max_document_tokens)
    end = max(stop for _, stop in offsets) - len(recipe.model.prefix)
    visible = split_sentences(document[:end])
    return visible[:-1] if document[end:].strip() and visible else visible
