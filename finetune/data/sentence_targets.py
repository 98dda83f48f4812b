"""Training rows of the objective `rank`: each document's candidate sentences and the probability of choosing each.

The ROUGE of a sentence depends on the wording of one summary, which nobody can foresee from the document: as the only
target it is mostly noise for a thousand pairs. So half of the target comes from what all pairs say together, a
conditional logit of a sentence's position, length, centrality and names (a trainable extractor, Kupiec, Pedersen and
Chen 1995).
"""

import re
import zlib
from collections import Counter

import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from finetune.data.loading import Pairs
from finetune.errors import UserError
from finetune.evaluation.baselines import centrality, mean_rouge
from finetune.evaluation.ranking import encode_with_candidates
from finetune.recipe import Recipe
from finetune.reports.progress import track

MAX_SENTENCES = 8  # of a document in training: half of them those with the highest targets, the others drawn
ROUGE_TEMPERATURE = 0.05  # of the softmax over a document's sentences; their ROUGE differs by 0.06 (one deviation)
PRIOR_SHARE = 0.5  # of the target
PENALTY = 1e-3  # on the squared weights of the prior
NEVER = -1e4  # logit of a place without a sentence
Candidates = tuple[list[str], list[float]]  # sentences of a document and their ROUGE
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


def ranking_rows(
    pairs: Pairs, tokenized: tuple[Dataset, Dataset], tokenizer: PreTrainedTokenizerFast, recipe: Recipe
) -> tuple[Dataset, Dataset]:
    """The rows of the training and the validation split for the objective `rank`.

    `tokenized` are the splits of `pairs` from `tokenize_pairs`. In place of `labels` the rows have `sentences`, the
    tokens of each with its end token, and `targets`, which sum to 1. The prior is fitted to the training pairs. Pairs
    whose document has fewer than two candidates are left out, since they teach no choice. Raises UserError if none is
    left.
    """
    splits = {"training": pairs.train, "validation": pairs.validation}
    candidates = {name: _candidates(split, tokenizer, recipe) for name, split in splits.items()}
    known = [row for row in candidates["training"] if len(row[0]) > 1]
    prior = SentencePrior([texts for texts, _ in known], [rewards for _, rewards in known]) if known else None
    rows = []
    for (name, split), encoded in zip(candidates.items(), tokenized, strict=True):
        used = [index for index, (texts, _) in enumerate(split) if len(texts) > 1]
        if not used or prior is None:
            raise UserError(f"training.objective: no {name} document has two sentences to choose from.")
        columns = [_row(*split[index], prior, tokenizer) for index in used]
        encoded = encoded.remove_columns("labels").select(used)
        for column in ("sentences", "targets"):
            encoded = encoded.add_column(column, [row[column] for row in columns])
        rows.append(encoded)
    return rows[0], rows[1]


def _candidates(pairs: Dataset, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> list[Candidates]:
    """The candidate sentences of each document and their ROUGE against its summary."""
    rows = []
    for document, summary in track(list(zip(pairs["document"], pairs["summary"], strict=True)), "ROUGE of sentences"):
        texts = [candidate.text for candidate in encode_with_candidates(tokenizer, document, recipe)[1]]
        rows.append((texts, mean_rouge(texts, summary)))
    return rows


def _row(
    texts: list[str], rewards: list[float], prior: SentencePrior, tokenizer: PreTrainedTokenizerFast
) -> dict[str, list]:
    own = (torch.tensor(rewards) / ROUGE_TEMPERATURE).softmax(-1)
    targets = (PRIOR_SHARE * prior.probabilities(texts) + (1 - PRIOR_SHARE) * own).tolist()
    kept = _keep(texts, targets)
    total = sum(targets[index] for index in kept)
    return {
        "sentences": tokenizer(text_target=[texts[index] for index in kept], verbose=False).input_ids,
        "targets": [targets[index] / total for index in kept],
    }


def _keep(document: list[str], targets: list[float]) -> list[int]:
    """The indices of at most MAX_SENTENCES sentences, in order: the likeliest half, the others drawn by their text."""
    ordered = sorted(range(len(document)), key=lambda index: -targets[index])
    best, rest = ordered[: MAX_SENTENCES // 2], ordered[MAX_SENTENCES // 2 :]
    drawn = sorted(rest, key=lambda index: zlib.crc32(document[index].encode()))
    return sorted(best + drawn[: MAX_SENTENCES - len(best)])
