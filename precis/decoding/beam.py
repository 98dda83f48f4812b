"""Beam search over the rows of one text (transformers `_beam_search`, the vectorized one of 4.50 and later)."""

from itertools import pairwise, takewhile

import numpy as np
import numpy.typing as npt

from precis.decoding.hypothesis import Hypothesis
from precis.decoding.logits_processors import apply_logits_processors
from precis.decoding.step_logits import StepLogits
from precis.decoding.top_k import best_candidates, top_k
from precis.params import ResolvedParams

NOT_A_CANDIDATE = np.float32(-1e9)  # transformers' score for a sequence that is out of the running

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

    def advance(self, step: StepLogits) -> tuple[Tokens, Tokens]:
        """Chooses the next tokens from the logits of the beams' rows, which are overwritten.

        Returns the tokens (beams,) and the index of the beam that each of them continues (beams,).
        """
        params, beams = self.params, self.params.num_beams
        offsets = self.running_scores - step.log_sums
        if not params.processors_only_set_minimum:
            log_probabilities = step.logits - step.log_sums[:, None]
            step = step.replace(apply_logits_processors(self.running_sequences, log_probabilities, params))
            offsets = self.running_scores
        elif self.running_sequences.shape[1] <= params.min_new_tokens:
            step.suppress(params.eos_token_ids)
        # So many candidates that `num_beams` remain when one per beam and end token has finished.
        count = max(2, 1 + len(params.eos_token_ids)) * beams
        parents, tokens, values = best_candidates(step, offsets, count)
        candidates = np.concatenate([self.running_sequences[parents], tokens[:, None]], axis=1)
        new_tokens = candidates.shape[1] - 1
        lowest = np.minimum(self.running_lowest[parents], values - self.running_scores[parents])
        is_last = new_tokens >= params.max_new_tokens
        stops = np.array([is_last or token in params.eos_token_ids for token in tokens.tolist()], dtype=np.bool_)

        running_values = np.where(stops, values + NOT_A_CANDIDATE, values)
        running = top_k(running_values, beams)
        if stops[:beams].any() or not self._finished_stay(float(values[beams - 1])):
            self._collect_finished(candidates, values, lowest, stops, new_tokens)
        self.running_sequences, self.running_scores = candidates[running], running_values[running]
        self.running_lowest = lowest[running]

        self._improvable = self._improvable and self._can_improve(new_tokens)
        all_finished = bool(self.is_finished.all()) and params.early_stopping is True
        self.finished = not self._improvable or all_finished or bool(stops.all())
        return tokens[running], parents[running]

    def _finished_stay(self, least: float) -> bool:
        """Whether a step in which nothing finishes leaves the finished sequences as they are; `least` is its score.

        With a negative length penalty, or a score as low as NOT_A_CANDIDATE, sequences that are out of the running may
        be the result, and torch.topk may change the order of equal ones.
        """
        scores = self.finished_scores[self.is_finished].tolist()
        in_running = self.params.length_penalty >= 0 and least > float(NOT_A_CANDIDATE) / 2
        return in_running and all(first > second for first, second in pairwise(scores))

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
        worst = self.finished_scores.min() if self.is_finished.any() else NOT_A_CANDIDATE
        return bool(best > (worst if self.is_finished.all() else min(worst, NOT_A_CANDIDATE)))

    @property
    def finish_reason(self) -> str:
        """That of the best finished sequence (see Hypothesis)."""
        return self._hypothesis(0).finish_reason

    @property
    def score(self) -> float:
        """That of the best finished sequence."""
        return self._hypothesis(0).score

    @property
    def min_token_score(self) -> float:
        """That of the best finished sequence."""
        return self._hypothesis(0).min_token_score

    @property
    def hypotheses(self) -> list[Hypothesis]:
        """The finished sequences, at most one a beam, best first."""
        return [self._hypothesis(int(index)) for index in np.flatnonzero(self.is_finished)]

    def _hypothesis(self, index: int) -> Hypothesis:
        tokens = self.finished_sequences[index].tolist()
        length = max(1, len(tokens))  # none at a very negative length penalty
        return Hypothesis(
            self.params.strip_special_tokens(tokens),
            float(self.finished_scores[index]) * length ** (self.params.length_penalty - 1),
            float(self.finished_lowest[index]),
            "end" if tokens and tokens[-1] in self.params.eos_token_ids else "length",
        )

    def token_ids(self) -> list[int]:
        """The best sequence without start, end and padding tokens.

        Before the search is finished: the tokens that all sequences which can still win begin with.
        """
        if self.finished:
            return self._hypothesis(0).token_ids
        finished = [
            sequence for sequence, exists in zip(self.finished_sequences, self.is_finished, strict=True) if exists
        ]
        columns = zip(*self.running_sequences[:, 1:].tolist(), *finished, strict=False)
        common = takewhile(lambda tokens: len({*tokens}) == 1, columns)
        return self.params.strip_special_tokens([int(tokens[0]) for tokens in common])
