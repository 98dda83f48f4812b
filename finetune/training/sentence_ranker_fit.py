"""Fits a sentence ranker: a conditional logit (McFadden 1974) over the sentences of each document.

Its targets are the distributions softmax(ROUGE / ROUGE_TEMPERATURE) of a document's sentences against its summary. A
ranker that comes with the base is the prior: the fit moves away from it only as far as the documents say (a maximum a
posteriori estimate with a Gaussian prior).
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from finetune.data.sentence_targets import RankedPair
from finetune.evaluation.sentence_ranker import SentenceRanker, sentence_states
from finetune.reports.progress import track
from precis.text.sentence_features import FEATURES, sentence_features

ROUGE_TEMPERATURE = 0.05  # the ROUGE of a document's sentences differs by 0.06 (one deviation)
FEATURE_PENALTY = 1e-3  # on the squared change of the weights, each times the deviation of its input
STATE_PENALTY = 3e-2  # the same, where the encoder's states are inputs as well
NEVER = -1e4  # logit of a place without a sentence


def fit_features(pairs: Sequence[RankedPair]) -> dict[str, float]:
    """The weights of the features alone."""
    inputs = [_features(pair) for pair in pairs]
    weights = _fit(inputs, [pair.rewards for pair in pairs], torch.zeros(len(FEATURES)), FEATURE_PENALTY)
    return dict(zip(FEATURES, weights.tolist(), strict=True))


@torch.inference_mode()
def fit_sentence_ranker(
    model: PreTrainedModel, pairs: Sequence[RankedPair], start: SentenceRanker | None
) -> SentenceRanker:
    """The ranker for the model's encoder; `start` is the base's ranker, if it has one."""
    model.eval()
    states = [
        sentence_states(model, pair.source.input_ids, pair.source.token_spans).cpu()
        for pair in track(pairs, "encoder states of the documents' sentences")
    ]
    size = states[0].shape[1]
    prior = torch.zeros(len(FEATURES) + size)
    if start:
        prior = torch.tensor([*(start.features.get(name, 0.0) for name in FEATURES), *start.encoder])
    inputs = [torch.cat([_features(pair), own], 1) for pair, own in zip(pairs, states, strict=True)]
    weights = _fit(inputs, [pair.rewards for pair in pairs], prior, STATE_PENALTY).tolist()
    return SentenceRanker(features=dict(zip(FEATURES, weights, strict=False)), encoder=weights[len(FEATURES) :])


def _features(pair: RankedPair) -> Tensor:
    return torch.tensor([list(row.values()) for row in sentence_features(pair.sentences)])


@torch.inference_mode(False)
def _fit(inputs: list[Tensor], rewards: list[list[float]], prior: Tensor, penalty: float) -> Tensor:
    """The weights of `inputs`, (sentences, inputs) of each document, near `prior`."""
    deviation = torch.cat(inputs).std(0, correction=0) + 1e-6
    start = (prior * deviation).clone()
    scaled = pad_sequence([own / deviation for own in inputs], batch_first=True)
    logits = [torch.tensor(row) / ROUGE_TEMPERATURE for row in rewards]
    padded = pad_sequence(logits, batch_first=True, padding_value=NEVER)
    targets, missing = padded.softmax(-1), padded == NEVER
    weights = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        scores = (scaled @ weights).masked_fill(missing, NEVER)
        loss = -(targets * scores.log_softmax(-1)).sum(-1).mean() + penalty * (weights - start).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weights.detach() / deviation
