"""Fits a sentence ranker: a conditional logit (McFadden 1974) over the sentences of each document.

Its targets are the distributions softmax(ROUGE / ROUGE_TEMPERATURE) of a document's sentences against its summary. A
ranker that comes with the base is the prior: the fit moves away from it only as far as the documents say (a maximum a
posteriori estimate with a Gaussian prior).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from finetune.data.sentence_targets import RankedPair
from finetune.evaluation.sentence_ranker import SentenceRanker, sentence_states
from finetune.reports.progress import track
from precis.text.sentence_features import FEATURES, sentence_features

ROUGE_TEMPERATURE = 0.05  # the ROUGE of a document's sentences differs by 0.06 (one deviation)
SMALLEST_DEVIATION = 1e-4  # of an input within documents; what varies less is a constant
NEVER = -1e4  # logit of a place without a sentence


@dataclass(frozen=True)
class Penalties:
    """On the squared change of the weights, each times the deviation of its input."""

    features: float
    states: float


# A start has seen more kinds of text than a thousand documents of one kind hold. Cross-validation on Gazette prefers
# smaller penalties, abstracts and everyday texts larger ones (docs/log.md#sentence-ranker).
FROM_START = Penalties(features=1.0, states=3.0)
FROM_NOTHING = Penalties(features=1e-3, states=0.1)


def fit_features(pairs: Sequence[RankedPair]) -> dict[str, float]:
    """The weights of the features alone."""
    fit = _Fit(pairs)
    weights = fit.weights([_features(pair) for pair in pairs], torch.zeros(len(FEATURES)), FROM_NOTHING.features)
    return dict(zip(FEATURES, weights.tolist(), strict=True))


def fit_sentence_ranker(
    model: PreTrainedModel,
    pairs: Sequence[RankedPair],
    start: SentenceRanker | None,
    penalties: Penalties | None = None,
    importance: Sequence[float] | None = None,
) -> SentenceRanker:
    """The ranker for the model's encoder; `start` is the base's ranker, if it has one.

    The features are fitted first and explain what they can; the encoder's states are fitted to the rest, since they are
    many and say less of other kinds of text. `importance` weights the pairs, which else count alike.
    """
    penalties = penalties or (FROM_START if start else FROM_NOTHING)
    states = _states(model, pairs)
    feature_prior, state_prior = torch.zeros(len(FEATURES)), torch.zeros(states[0].shape[1])
    if start:
        feature_prior = torch.tensor([start.features.get(name, 0.0) for name in FEATURES])
        state_prior = torch.tensor(start.encoder)
    inputs = [_features(pair) for pair in pairs]
    fit = _Fit(pairs, importance)
    feature_weights = fit.weights(inputs, feature_prior, penalties.features)
    fit.offsets = [own @ feature_weights for own in inputs]
    state_weights = fit.weights(states, state_prior, penalties.states)
    return SentenceRanker(
        features=dict(zip(FEATURES, feature_weights.tolist(), strict=True)), encoder=state_weights.tolist()
    )


@torch.no_grad()
def _states(model: PreTrainedModel, pairs: Sequence[RankedPair]) -> list[Tensor]:
    """The encoder's states of each document's sentences, (sentences, d_model)."""
    model.eval()
    return [
        sentence_states(model, pair.source.input_ids, pair.source.token_spans).cpu()
        for pair in track(pairs, "encoder states of the documents' sentences")
    ]


def _features(pair: RankedPair) -> Tensor:
    return torch.tensor([list(row.values()) for row in sentence_features(pair.sentences)])


class _Fit:
    """A fit to the rewards of `pairs`; `offsets` (sentences,) of each document are added to its scores."""

    def __init__(self, pairs: Sequence[RankedPair], importance: Sequence[float] | None = None) -> None:
        logits = [torch.tensor(pair.rewards) / ROUGE_TEMPERATURE for pair in pairs]
        padded = pad_sequence(logits, batch_first=True, padding_value=NEVER)
        self._targets, self._missing = padded.softmax(-1), padded == NEVER
        self._importance = torch.tensor(importance or [1.0] * len(pairs))
        self.offsets = [torch.zeros(len(pair.rewards)) for pair in pairs]

    def weights(self, inputs: list[Tensor], prior: Tensor, penalty: float) -> Tensor:
        """The weights of `inputs`, (sentences, inputs) of each document, near `prior`."""
        centered = [own - own.mean(0) for own in inputs]  # only differences within a document count
        deviation = torch.cat(centered).square().mean(0).sqrt()
        deviation[deviation < SMALLEST_DEVIATION] = 1.0
        start = prior * deviation
        scaled = pad_sequence([own / deviation for own in centered], batch_first=True)
        offsets = pad_sequence(self.offsets, batch_first=True)
        weights = start.clone().requires_grad_()
        optimizer = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            scores = (offsets + scaled @ weights).masked_fill(self._missing, NEVER)
            losses = -(self._targets * scores.log_softmax(-1)).sum(-1)
            loss = (losses * self._importance).sum() / self._importance.sum()
            loss = loss + penalty * (weights - start).square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        return weights.detach() / deviation
