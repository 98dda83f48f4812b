"""Beam search over the rows of one text (transformers `_beam_search`, the vectorized one of 4.50 and later)."""

from itertools import takewhile
from typing import Any

import numpy as np
import numpy.typing as npt

from precis.decoding.logits_processors import apply_logits_processors
from precis.params import ResolvedParams

NOT_A_CANDIDATE = np.float32(-1e9)  # transformers' score for a sequence that is out of the running
BLOCK_SIZE = 128  # scores compared at once in `top_k`

Scores = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.int64]


class BeamSearch:
    """Keeps the `num_beams` best running sequences and the `num_beams` best finished ones.

    Attribute names follow transformers: `running_sequences` (beams, length) with their `running_scores` (beams,), and
    `finished_sequences` with `finished_scores` (beams,), of which `is_finished` (beams,) marks those that exist. The
    log-probability of the least probable token is `running_lowest` and `finished_lowest` (beams,).
    """

    def __init__(self, params: ResolvedParams) -> None:
        self.params = params
        beams = params.num_beams
        self.running_sequences: Tokens = np.full((beams, 1), params.decoder_start_token_id, dtype=np.int64)
        # All beams are equal at the first step, so only the first one counts.
        self.running_scores = np.array([0.0] + [NOT_A_CANDIDATE] * (beams - 1), dtype=np.float32)
        self.finished_sequences: list[Tokens] = [np.empty(0, dtype=np.int64)] * beams
        self.finished_scores = np.full(beams, NOT_A_CANDIDATE)
        self.is_finished = np.zeros(beams, dtype=bool)
        self.running_lowest, self.finished_lowest = np.zeros((2, beams), dtype=np.float32)
        self.finished = False
        self._improvable = True

    def advance(self, logits: Scores) -> tuple[Tokens, Tokens]:
        """Chooses the next tokens from logits (beams, vocabulary), which are overwritten.

        Returns the tokens (beams,) and the index of the beam that each of them continues (beams,).
        """
        params, beams = self.params, self.params.num_beams
        scores = apply_logits_processors(self.running_sequences, _log_softmax(logits), params)
        scores += self.running_scores[:, None]
        # So many candidates that `num_beams` remain when one per beam and end token has finished.
        best = top_k(scores.reshape(-1), max(2, 1 + len(params.eos_token_ids)) * beams)
        values = scores.reshape(-1)[best]
        parents, tokens = best // scores.shape[1], best % scores.shape[1]
        candidates = np.concatenate([self.running_sequences[parents], tokens[:, None]], axis=1)
        new_tokens = candidates.shape[1] - 1
        lowest = np.minimum(self.running_lowest[parents], values - self.running_scores[parents])
        stops = np.isin(tokens, params.eos_token_ids) | (new_tokens >= params.max_new_tokens)

        running_values = values + stops * NOT_A_CANDIDATE
        running = top_k(running_values, beams)
        self._collect_finished(candidates, values, lowest, stops, new_tokens)
        self.running_sequences, self.running_scores = candidates[running], running_values[running]
        self.running_lowest = lowest[running]

        self._improvable = self._improvable and self._can_improve(new_tokens)
        all_finished = bool(self.is_finished.all()) and params.early_stopping is True
        self.finished = not self._improvable or all_finished or bool(stops.all())
        return tokens[running], parents[running]

    def _collect_finished(
        self, candidates: Tokens, values: Scores, lowest: Scores, stops: npt.NDArray[np.bool_], new_tokens: int
    ) -> None:
        """Keeps the best `num_beams` of the sequences finished before and those that finish now."""
        beams = self.params.num_beams
        just_finished = stops & (np.arange(len(stops)) < beams)
        final = values / np.float32(new_tokens**self.params.length_penalty)
        if self.is_finished.all() and self.params.early_stopping is True:
            final = final + NOT_A_CANDIDATE
        final = np.where(just_finished, final, final + NOT_A_CANDIDATE)
        scores = np.concatenate([self.finished_scores, final])
        order = top_k(scores, beams)
        sequences = [*self.finished_sequences, *candidates[:, 1:]]
        self.finished_sequences = [sequences[i] for i in order]
        self.finished_scores = scores[order]
        self.finished_lowest = np.concatenate([self.finished_lowest, lowest])[order]
        self.is_finished = np.concatenate([self.is_finished, just_finished])[order]

    def _can_improve(self, new_tokens: int) -> bool:
        """Whether a running sequence may still beat the worst finished one (transformers' early-stop heuristic)."""
        params = self.params
        if params.early_stopping == "never" and params.length_penalty > 0:
            new_tokens = params.max_new_tokens
        best = self.running_scores[0] / np.float32(new_tokens**params.length_penalty)
        worst = np.where(self.is_finished, self.finished_scores.min(), NOT_A_CANDIDATE)
        return bool((best > worst).any())

    @property
    def finish_reason(self) -> str:
        """ "end" if the best finished sequence ends with an end token, else "length"."""
        best = self.finished_sequences[0]
        return "end" if len(best) and best[-1] in self.params.eos_token_ids else "length"

    @property
    def score(self) -> float:
        """The mean log-probability of the best finished sequence's tokens, end token included.

        The logits processors change the log-probabilities, as in transformers' beam search.
        """
        return float(self.finished_scores[0]) * len(self.finished_sequences[0]) ** (self.params.length_penalty - 1)

    @property
    def min_token_score(self) -> float:
        """The log-probability of its least probable token."""
        return float(self.finished_lowest[0])

    def token_ids(self) -> list[int]:
        """The best sequence without start, end and padding tokens.

        Before the search is finished: the tokens that all sequences which can still win begin with.
        """
        if self.finished:
            return self.params.strip_special_tokens(self.finished_sequences[0].tolist())
        finished = [
            sequence for sequence, exists in zip(self.finished_sequences, self.is_finished, strict=True) if exists
        ]
        columns = zip(*self.running_sequences[:, 1:].tolist(), *finished, strict=False)
        common = takewhile(lambda tokens: len({*tokens}) == 1, columns)
        return self.params.strip_special_tokens([int(tokens[0]) for tokens in common])


def top_k(values: npt.NDArray[Any], k: int) -> npt.NDArray[np.int64]:
    """Indices of the `k` largest of `values` (n,), largest first, the lower index first among equals."""
    blocks = len(values) // BLOCK_SIZE
    if blocks > 2 * k:
        # The largest values stand in the blocks with the largest maxima, which are quickly computed.
        best = top_k(values[: blocks * BLOCK_SIZE].reshape(blocks, BLOCK_SIZE).max(axis=1), k)
        within = (best[:, None] * BLOCK_SIZE + np.arange(BLOCK_SIZE)).reshape(-1)
        indices = np.concatenate([within, np.arange(blocks * BLOCK_SIZE, len(values))])
    else:
        indices = np.arange(len(values))
    candidates = values[indices]
    if k < len(candidates):
        indices = indices[candidates >= np.partition(candidates, -k)[-k]]
    return indices[np.lexsort((indices, -values[indices]))][:k]


def _log_softmax(logits: Scores) -> Scores:
    """In place: allocating an array of this size takes longer than the arithmetic."""
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits
