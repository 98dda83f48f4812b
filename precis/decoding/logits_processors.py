"""The logits processors that a bundle or a request can ask for, in transformers' order (`_get_logits_processor`)."""

import numpy as np
import numpy.typing as npt

from precis.params import ResolvedParams

Scores = npt.NDArray[np.float32]


def apply_logits_processors(sequences: npt.NDArray[np.int64], scores: Scores, params: ResolvedParams) -> Scores:
    """The scores (rows, vocabulary) after all processors of `params`; `scores` is changed in place.

    `sequences` (rows, length) are the tokens so far with the start token, which transformers counts as a repetition.
    """
    if params.has_no_processors:
        return scores
    _penalize_repetition(sequences, scores, params.repetition_penalty)
    _ban_repeated_ngrams(sequences, scores, params.no_repeat_ngram_size)
    new_tokens = sequences.shape[1] - 1
    if new_tokens < params.min_new_tokens:
        scores[:, params.eos_token_ids] = -np.inf
    if params.forced_bos_token_id is not None and new_tokens == 0:
        scores = _allow_only((params.forced_bos_token_id,), scores)
    if params.forced_eos_token_ids and new_tokens == params.max_new_tokens - 1:
        scores = _allow_only(params.forced_eos_token_ids, scores)
    scores[:, params.suppress_tokens] = -np.inf
    if new_tokens == (params.forced_bos_token_id is not None):
        scores[:, params.begin_suppress_tokens] = -np.inf
    return scores


def _penalize_repetition(sequences: npt.NDArray[np.int64], scores: Scores, repetition_penalty: float) -> None:
    if repetition_penalty == 1.0:
        return
    penalty = np.float32(repetition_penalty)
    used = np.take_along_axis(scores, sequences, axis=1)
    np.put_along_axis(scores, sequences, np.where(used < 0, used * penalty, used / penalty), axis=1)


def _ban_repeated_ngrams(sequences: npt.NDArray[np.int64], scores: Scores, size: int) -> None:
    if not 0 < size <= sequences.shape[1]:
        return
    for row, sequence in enumerate(sequences.tolist()):
        prefix = sequence[len(sequence) - size + 1 :]
        starts = range(len(sequence) - size + 1)
        banned = [sequence[i + size - 1] for i in starts if sequence[i : i + size - 1] == prefix]
        scores[row, banned] = -np.inf


def _allow_only(tokens: tuple[int, ...], scores: Scores) -> Scores:
    forced = np.full_like(scores, -np.inf)
    forced[:, tokens] = 0.0
    return forced
