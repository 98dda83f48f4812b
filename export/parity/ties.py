"""Ties: summaries that differ only because PyTorch's own scores of two tokens or sentences are practically equal."""

import torch
from transformers import GenerationConfig, PreTrainedModel, RepetitionPenaltyLogitsProcessor

from finetune.evaluation.ranking import Ranking
from finetune.evaluation.scoring import generate_by, generation_config
from finetune.recipe import Recipe
from precis.extraction import SCORE_DIGITS, ExtractedSentence

# PyTorch's scores that are nearer to each other than this may fall either way: in nats of a token's scores, and as a
# share of the scores of summaries and sentences, whose size depends on the length penalty.
TIE = 1e-4


@torch.inference_mode()
def is_tie(model: PreTrainedModel, ids: list[int], expected: list[int], actual: list[int], recipe: Recipe) -> bool:
    """Whether PyTorch's scores leave open which of two different summaries is the better one.

    `ids` are the document's token ids; `expected` is PyTorch's summary and `actual` the other system's, both with
    their end token if they have one. Greedy search: the scores of both tokens at the first step that differs; beam
    search: the scores of both summaries. The same tokens, or none, are no tie.
    """
    if expected == actual or not expected or not actual:
        return False
    config = generation_config(recipe, model)
    source = torch.tensor([ids], device=model.device)
    if config.num_beams == 1:
        steps = zip(expected, actual, strict=False)
        step = next((i for i, (a, b) in enumerate(steps) if a != b), min(len(expected), len(actual)))
        config.output_scores = config.return_dict_in_generate = True
        scores = generate_by(config, model, input_ids=source).scores
        if step >= min(len(scores), len(actual)):
            return False
        return float(scores[step][0].max() - scores[step][0][actual[step]]) < TIE
    scores = [sequence_score(model, ids, tokens, config) for tokens in (expected, actual)]
    return abs(scores[0] - scores[1]) < TIE * abs(scores[0])


def is_extraction_tie(expected: Ranking, actual: list[ExtractedSentence]) -> bool:
    """Whether PyTorch's scores leave open which sentences are the best: its own, or those of the other system."""
    places = {(candidate.start, candidate.end): index for index, candidate in enumerate(expected.candidates)}
    actual_indices = {places.get((sentence.start, sentence.end)) for sentence in actual}
    only_expected, only_actual = set(expected.selected) - actual_indices, actual_indices - set(expected.selected)
    if None in actual_indices or not only_expected or len(only_expected) != len(only_actual):
        return False
    scores = expected.scores
    gap = max(scores[i] for i in only_expected) - min(scores[i] for i in only_actual if i is not None)
    # Scores that are equal as the engine rounds them are a tie as well.
    return gap < max(TIE * max(map(abs, scores)), 10**-SCORE_DIGITS)


@torch.inference_mode()
def sequence_score(model: PreTrainedModel, ids: list[int], tokens: list[int], config: GenerationConfig) -> float:
    """The score by which transformers' beam search ranks the finished sequence `tokens` of the document `ids`.

    It is the sum of the log-probabilities, each with the repetition penalty, over the length penalty.
    """
    source, labels = (torch.tensor([row], device=model.device) for row in (ids, tokens))
    scores = model(input_ids=source, labels=labels).logits[0].log_softmax(-1)
    if config.repetition_penalty != 1.0:
        penalize = RepetitionPenaltyLogitsProcessor(config.repetition_penalty)
        fed = torch.tensor([[config.decoder_start_token_id, *tokens]], device=model.device)
        scores = torch.cat([penalize(fed[:, : step + 1], row[None]) for step, row in enumerate(scores)])
    return float(scores[torch.arange(len(tokens)), labels[0]].sum()) / len(tokens) ** config.length_penalty
