"""Training targets of the objective `extract`: a sentence of each document in place of its summary.

The sentence with the highest ROUGE would be a noisy target: it depends on the wording of one summary, which nobody can
foresee from the document. So the target is the likeliest sentence by what all pairs say together, a conditional logit
of a sentence's position, length, centrality and names (a trainable extractor, Kupiec, Pedersen and Chen 1995).
"""

import re
from collections import Counter

import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from finetune.errors import UserError
from finetune.evaluation.baselines import centrality, mean_rouge
from finetune.evaluation.ranking import encode_with_candidates
from finetune.recipe import Recipe
from finetune.reports.progress import track

FIT_DOCUMENTS = 2000  # that the prior is fitted to; it has few features
ROUGE_TEMPERATURE = 0.05  # of the softmax over a document's sentences; their ROUGE differs by 0.06 (one deviation)
PENALTY = 1e-3  # on the squared weights of the prior
NEVER = -1e4  # logit of a place without a sentence
_WORD = re.compile(r"\w+")
_NAME = re.compile(r"(?<=[^\W\d_] )[^\W\d_a-zß-ÿ]\w+")
_BACK_REFERENCE = re.compile(r"(?:And|But|He|It|She|So|That|They|This|Those|These)\b")
_FIRST_OR_SECOND_PERSON = re.compile(r"\b(?:I|me|my|our|we|you|your)\b", re.IGNORECASE)


class SentencePrior:
    """The probability of choosing each sentence of a document, by a conditional logit (McFadden 1974) of `features`."""

    def __init__(self, documents: list[list[str]], rewards: list[list[float]]) -> None:
        """Fits the distributions softmax(rewards / ROUGE_TEMPERATURE) of `documents`, lists of sentences."""
        rows = [torch.tensor(features(document)) for document in documents]
        values = torch.cat(rows)
        self._mean, self._deviation = values.mean(0), values.std(0, correction=0) + 1e-6
        inputs = torch.nn.utils.rnn.pad_sequence([self._scaled(row) for row in rows], batch_first=True)
        logits = [torch.tensor(row) / ROUGE_TEMPERATURE for row in rewards]
        padded = torch.nn.utils.rnn.pad_sequence(logits, batch_first=True, padding_value=NEVER)
        targets, missing = padded.softmax(-1), padded == NEVER
        self._weights = torch.zeros(values.shape[1], requires_grad=True)
        optimizer = torch.optim.LBFGS([self._weights], max_iter=60, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            scores = (inputs @ self._weights).masked_fill(missing, NEVER)
            loss = -(targets * scores.log_softmax(-1)).sum(-1).mean() + PENALTY * self._weights.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)

    def probabilities(self, document: list[str]) -> Tensor:
        """Shape (sentences,); they sum to 1."""
        return (self._scaled(torch.tensor(features(document))) @ self._weights.detach()).softmax(-1)

    def _scaled(self, rows: Tensor) -> Tensor:
        return (rows - self._mean) / self._deviation


def features(document: list[str]) -> list[list[float]]:
    """The features of each sentence of a document, all of similar magnitude: shape (sentences, features)."""
    words = [_WORD.findall(sentence.lower()) for sentence in document]
    sentence_counts = Counter(word for group in words for word in set(group))
    rows = []
    for index, (sentence, group, central) in enumerate(zip(document, words, centrality(document), strict=True)):
        length = min(len(group), 60) / 20
        shared = sum(sentence_counts[word] - 1 for word in set(group) if len(word) > 3)
        rows.append(
            [
                *(float(index == first) for first in range(4)),
                float(index == len(document) - 1),
                index / len(document),
                length,
                length**2,
                central,
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


def use_sentence_targets(pairs: Dataset, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> Dataset:
    """`pairs` with the likeliest sentence of each document in place of its summary.

    Candidates are the sentences of the part of a document that the model reads. A document without any keeps its
    summary. Raises UserError if no document has two to choose from.
    """
    documents, summaries = list(pairs["document"]), list(pairs["summary"])
    texts = [
        [candidate.text for candidate in encode_with_candidates(tokenizer, document, recipe)[1]]
        for document in track(documents, "sentences of the documents")
    ]
    known = [index for index, sentences in enumerate(texts) if len(sentences) > 1][:FIT_DOCUMENTS]
    if not known:
        raise UserError("training.objective: no training document has two sentences to choose from.")
    rewards = [mean_rouge(texts[index], summaries[index]) for index in track(known, "their ROUGE")]
    prior = SentencePrior([texts[index] for index in known], rewards)
    targets = [
        sentences[int(prior.probabilities(sentences).argmax())] if sentences else summary
        for sentences, summary in zip(texts, summaries, strict=True)
    ]
    return Dataset.from_dict({"document": documents, "summary": targets})
