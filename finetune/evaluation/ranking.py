"""Extraction with a PyTorch model: ranks a document's sentences by the model's own probability of each.

A sentence's score is the one by which beam search ranks finished sequences: the sum of the log-probabilities of its
tokens and the end token, divided by their number to the power of `length_penalty`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import BaseModelOutput

from finetune.data.tokenizing import truncate
from finetune.recipe import Recipe
from finetune.reports.progress import track
from precis.params import MAX_NEW_TOKENS
from precis.text.candidates import Candidate, best_indices, candidate_sentences

MAX_TOKENS = 2048  # of the sentences in one pass of the decoder, with padding; bounds the memory of their logits
IGNORED = -100  # marks padding in labels, as PyTorch's cross-entropy has it


@dataclass(frozen=True)
class Ranking:
    """A document's candidate sentences with their scores, and the indices of the chosen ones in order."""

    candidates: list[Candidate]
    scores: list[float]
    chosen: list[int]

    @property
    def summary(self) -> str:
        """The chosen sentences, joined by a space."""
        return " ".join(self.candidates[index].text for index in self.chosen)


def rank(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, documents: list[str], recipe: Recipe, title: str
) -> list[Ranking]:
    """The ranking of each document's candidate sentences, in the documents' order.

    Candidates are the sentences of the part of a document that the model reads (data.max_document_tokens). In a
    distributed run each process ranks a part of the documents, and all return the complete result. `title` labels the
    progress bar.
    """
    count = recipe.generation.sentences or 1
    distributed = torch.distributed.is_initialized()
    process, processes = (torch.distributed.get_rank(), torch.distributed.get_world_size()) if distributed else (0, 1)
    rankings: dict[int, Ranking] = {}
    for index in track(range(process, len(documents), processes), title):
        input_ids, candidates = encode_with_candidates(tokenizer, documents[index], recipe)
        labels = sentence_tokens(tokenizer, [candidate.text for candidate in candidates])
        with torch.inference_mode():
            scores = score_sentences(model, input_ids, labels, length_penalty(recipe)).tolist()
        rankings[index] = Ranking(candidates, scores, best_indices(scores, count))
    if distributed:
        gathered: list[dict[int, Ranking]] = [{}] * processes
        torch.distributed.all_gather_object(gathered, rankings)
        rankings = {index: ranking for part in gathered for index, ranking in part.items()}
    return [rankings[index] for index in range(len(documents))]


def length_penalty(recipe: Recipe) -> float:
    """The recipe's length penalty, or transformers' default."""
    penalty = recipe.generation.length_penalty
    return 1.0 if penalty is None else penalty


def encode_with_candidates(
    tokenizer: PreTrainedTokenizerFast, document: str, recipe: Recipe
) -> tuple[list[int], list[Candidate]]:
    """The document's tokens, with prefix and end token, truncated; and the candidate sentences of what they hold."""
    prefix, limit = recipe.model.prefix, recipe.data.max_document_tokens
    encoding = tokenizer(prefix + document, return_offsets_mapping=True, verbose=False)
    input_ids = truncate(encoding.input_ids, limit)
    end = None
    if len(encoding.input_ids) > limit:
        first_unread, _ = encoding.offset_mapping[limit - 1]
        end = max(0, first_unread - len(prefix))
    # What is read may be nothing but whitespace.
    return input_ids, candidate_sentences(document, end=end) or candidate_sentences(document)[:1]


def sentence_tokens(tokenizer: PreTrainedTokenizerFast, sentences: list[str]) -> list[list[int]]:
    """The tokens of each sentence with its end token; of a very long one the first, as in the engine."""
    labels = tokenizer(text_target=sentences, verbose=False).input_ids if sentences else []
    return [truncate(tokens, MAX_NEW_TOKENS) for tokens in labels]


def score_sentences(model: PreTrainedModel, input_ids: list[int], labels: list[list[int]], penalty: float) -> Tensor:
    """The score of each sentence given a document, (sentences,) in float32; differentiable.

    `input_ids` are the document's tokens, `labels` those of each sentence with its end token, fed to the decoder
    (teacher forcing). The document is encoded once.
    """
    device = model.device
    encoder = model.get_encoder()  # type: ignore[operator]  # transformers types it as a Tensor
    hidden = encoder(input_ids=torch.tensor([input_ids], device=device)).last_hidden_state
    scores = []
    for part in _slices(labels):
        padded = torch.full((len(part), max(map(len, part))), IGNORED, device=device)
        for row, tokens in enumerate(part):
            padded[row, : len(tokens)] = torch.tensor(tokens, device=device)
        outputs = model(
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden.expand(len(part), -1, -1)), labels=padded
        )
        is_token = padded != IGNORED
        log_probabilities = outputs.logits.float().log_softmax(-1)
        of_tokens = log_probabilities.gather(-1, padded.clamp(min=0)[..., None])[..., 0] * is_token
        scores.append(of_tokens.sum(-1) / is_token.sum(-1) ** penalty)
    return torch.cat(scores) if scores else torch.empty(0, device=device)


def _slices(labels: list[list[int]]) -> Iterator[list[list[int]]]:
    """`labels` in order, in parts of at most MAX_TOKENS tokens with padding, but of at least one sentence."""
    part: list[list[int]] = []
    for tokens in labels:
        if part and (len(part) + 1) * max(map(len, [*part, tokens])) > MAX_TOKENS:
            yield part
            part = []
        part.append(tokens)
    if part:
        yield part
