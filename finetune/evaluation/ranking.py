"""Extraction with a PyTorch model: ranks a document's sentences by its sentence ranker or its own probability of each.

By probability, a sentence's score is the one by which beam search ranks finished sequences: the sum of the
log-probabilities of its tokens and the end token, divided by their number to the power of `length_penalty`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import BaseModelOutput

from finetune.data.tokenizing import truncate
from finetune.evaluation.sentence_ranker import SentenceRanker
from finetune.recipe import Recipe
from finetune.reports.progress import track
from precis.params import MAX_NEW_TOKENS
from precis.text.candidates import Candidate, best_indices, candidate_sentences
from precis.text.token_spans import token_spans

MAX_TOKENS = 2048  # of the sentences in one pass of the decoder, with padding; bounds the memory of their logits
IGNORED = -100  # marks padding in labels, as PyTorch's cross-entropy has it


@dataclass(frozen=True)
class Ranking:
    """A document's candidate sentences with their scores, and the indices of the selected ones in order."""

    candidates: list[Candidate]
    scores: list[float]
    selected: list[int]

    @property
    def summary(self) -> str:
        """The selected sentences, joined by a space."""
        return " ".join(self.candidates[index].text for index in self.selected)


def rank(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    documents: list[str],
    recipe: Recipe,
    title: str,
    ranker: SentenceRanker | None = None,
) -> list[Ranking]:
    """The ranking of each document's candidate sentences, in the documents' order.

    Candidates are the sentences of the part of a document that the model reads (data.max_document_tokens). Without a
    `ranker` the scores are the model's own probabilities. In a distributed run each process ranks a part of the
    documents, and all return the complete result. `title` labels the progress bar.
    """
    count = recipe.generation.sentences or 1
    distributed = torch.distributed.is_initialized()
    process, processes = (torch.distributed.get_rank(), torch.distributed.get_world_size()) if distributed else (0, 1)
    rankings: dict[int, Ranking] = {}
    for index in track(range(process, len(documents), processes), title):
        source = encode_source(tokenizer, documents[index], recipe)
        sentences = [candidate.text for candidate in source.candidates]
        with torch.inference_mode():
            if ranker and sentences:
                scores = ranker.scores(model, source.input_ids, source.token_spans, sentences)
            else:
                labels = sentence_tokens(tokenizer, sentences)
                scores = score_sentences(model, source.input_ids, labels, length_penalty(recipe))
        rankings[index] = Ranking(source.candidates, scores.tolist(), best_indices(scores.tolist(), count))
    if distributed:
        gathered: list[dict[int, Ranking]] = [{}] * processes
        torch.distributed.all_gather_object(gathered, rankings)
        rankings = {index: ranking for part in gathered for index, ranking in part.items()}
    return [rankings[index] for index in range(len(documents))]


def length_penalty(recipe: Recipe) -> float:
    """The recipe's length penalty, or transformers' default."""
    penalty = recipe.generation.length_penalty
    return 1.0 if penalty is None else penalty


@dataclass(frozen=True)
class Source:
    """What the model reads of a document: its tokens, with prefix and end token, and the candidate sentences in it.

    `token_spans` are the tokens of each candidate, first and past the last.
    """

    input_ids: list[int]
    candidates: list[Candidate]
    token_spans: list[tuple[int, int]]


def encode_source(tokenizer: PreTrainedTokenizerFast, document: str, recipe: Recipe) -> Source:
    """The document as the model reads it, truncated to data.max_document_tokens."""
    prefix, limit = recipe.model.prefix, recipe.data.max_document_tokens
    encoding = tokenizer(prefix + document, return_offsets_mapping=True, verbose=False)
    input_ids = truncate(encoding.input_ids, limit)
    end = None
    if len(encoding.input_ids) > limit:
        first_unread, _ = encoding.offset_mapping[limit - 1]
        end = max(0, first_unread - len(prefix))
    # What is read may be nothing but whitespace.
    candidates = candidate_sentences(document, end=end) or candidate_sentences(document)[:1]
    special = tokenizer.num_special_tokens_to_add()
    offsets = [(start - len(prefix), end - len(prefix)) for start, end in encoding.offset_mapping[: limit - special]]
    offsets = offsets[: len(input_ids) - special]
    return Source(input_ids, candidates, token_spans(offsets, [(item.start, item.end) for item in candidates]))


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
