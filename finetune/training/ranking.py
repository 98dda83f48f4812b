"""The objective `rank`: teaches which sentence of its document a model holds for the likeliest summary.

All sentences of a document stand in one decoder row, one after the other, and each attends only to itself: the document
is encoded once, and T5's relative positions make every sentence start at its own beginning.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from finetune.training.trainer import FineTuner

IGNORED = -100  # marks padding in labels, as PyTorch's cross-entropy has it
TEMPERATURE = 0.1  # of the softmax over a document's scores, log-probabilities in nats a token
GENERATION_SHARE = (
    1.0  # weight of the likely sentences' own negative log-likelihood; without it, what ranks cannot write
)
MASKED = -1e9  # added to the attention scores of what must not be seen


@dataclass(frozen=True)
class RankingCollator:
    """Makes a batch of rows with `input_ids`, `sentences` and `targets`.

    The batch has `input_ids` and `attention_mask` (rows, source tokens); `decoder_input_ids`, `labels` and `sentence`,
    the index of each token's sentence (rows, target tokens); `decoder_attention_mask`, added to the attention scores
    (rows, 1, target tokens, target tokens); and `targets` (rows, sentences), 0 where a row has no more sentences.
    """

    tokenizer: PreTrainedTokenizerFast
    start_token: int  # that the decoder starts with

    def __call__(self, rows: list[dict[str, list]]) -> dict[str, Tensor]:
        batch = self.tokenizer.pad({"input_ids": [row["input_ids"] for row in rows]}, return_tensors="pt")
        sentences = [row["sentences"] for row in rows]
        labels = _padded([[token for part in row for token in part] for row in sentences], IGNORED)
        started = [[token for part in row for token in (self.start_token, *part[:-1])] for row in sentences]
        index = _padded([[n for n, part in enumerate(row) for _ in part] for row in sentences], -1)
        causal = torch.ones(labels.shape[1], labels.shape[1], dtype=torch.bool).tril()
        visible = (index[:, :, None] == index[:, None, :]) & causal
        return {
            **batch,
            "decoder_input_ids": _padded(started, self.start_token),
            "decoder_attention_mask": torch.zeros(visible.shape).masked_fill(~visible, MASKED)[:, None],
            "labels": labels,
            "sentence": index,
            "targets": _padded([row["targets"] for row in rows], 0.0),
        }


def _padded(rows: list[list], value: float) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)


def sentence_scores(logits: Tensor, labels: Tensor, sentence: Tensor, count: int, length_penalty: float) -> Tensor:
    """The score of each sentence as extraction has it (`finetune.evaluation.ranking`), shape (rows, `count`).

    `logits` has shape (rows, target tokens, vocabulary). Rows with fewer sentences have 0 in the places that remain.
    """
    flat = functional.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), reduction="none")
    log_probabilities = -flat.view(labels.shape)  # 0 at padding
    is_token = (labels != IGNORED).to(log_probabilities.dtype)
    place = sentence.clamp(min=0)
    zeros = log_probabilities.new_zeros(len(labels), count)
    sums, lengths = (zeros.scatter_add(1, place, values) for values in (log_probabilities, is_token))
    return sums / lengths.clamp(min=1) ** length_penalty


def ranking_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """The mean over rows of the Kullback-Leibler divergence, in nats, of `targets` from softmax(scores / TEMPERATURE).

    Both have shape (rows, sentences). Where the target is 0 there is no sentence.
    """
    predicted = (scores / TEMPERATURE).masked_fill(targets == 0, -torch.inf).log_softmax(-1)
    cross_entropy = -(targets * predicted.masked_fill(targets == 0, 0.0)).sum(-1)
    return (cross_entropy - torch.special.entr(targets).sum(-1)).mean()


class RankingTrainer(FineTuner):
    """FineTuner with the ranking loss and the likelihood's. `length_penalty` is that of the scores."""

    columns = ("input_ids", "sentences", "targets")

    def __init__(self, *args, length_penalty: float, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.compute_loss_func = None  # that of tokens; without one the Trainer takes the mean over a step's batches
        self.length_penalty = length_penalty

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        inputs = dict(inputs)
        labels, sentence, targets = (inputs.pop(name) for name in ("labels", "sentence", "targets"))
        outputs = model(**inputs)
        scores = sentence_scores(outputs.logits, labels, sentence, targets.shape[1], self.length_penalty)
        # The targets' mean score is the likelihood that training to write would raise (BRIO's first term).
        loss = ranking_loss(scores, targets) - GENERATION_SHARE * (targets * scores).sum(-1).mean()
        return (loss, outputs) if return_outputs else loss
