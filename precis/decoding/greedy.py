"""Greedy search over one row (transformers `_sample` with `do_sample=False`)."""

import numpy as np

from precis.decoding.logits_processors import apply_logits_processors
from precis.decoding.step_logits import StepLogits
from precis.params import ResolvedParams

NO_TOKEN = -1


class GreedySearch:
    """Appends the most probable token at each step.

    `sequence` is the start token and all tokens since, and `log_probabilities` are those of all but the start token,
    after the logits processors; `finish_reason` is "end" after an end token, else "length".
    """

    def __init__(self, params: ResolvedParams) -> None:
        self.params = params
        self.sequence = [params.decoder_start_token_id]
        self.log_probabilities: list[float] = []
        self.finished = False
        self.finish_reason = "length"

    @property
    def suppressed_token(self) -> int | None:
        """The only token that the logits processors suppress in the next step, or NO_TOKEN if they change nothing.

        With it a graph can choose the token itself. None if the processors do more than that.
        """
        params = self.params
        if not params.processors_only_set_minimum:
            return None
        if len(self.sequence) > params.min_new_tokens:
            return NO_TOKEN
        return params.eos_token_ids[0] if len(params.eos_token_ids) == 1 else None

    def advance(self, step: StepLogits) -> int:
        """Chooses and appends the next token from the logits of one row, which are overwritten; returns it."""
        params = self.params
        if not params.processors_only_set_minimum:
            step = StepLogits.from_logits(apply_logits_processors(np.array([self.sequence]), step.logits, params))
        log_sum = float(step.log_sums[0])
        if params.processors_only_set_minimum and len(self.sequence) <= params.min_new_tokens:
            log_sum = step.log_sum_without(params.eos_token_ids)
            step.suppress(params.eos_token_ids)
        token = step.argmax()
        self.append(token, float(step.all_logits[step.rows[0], token]) - log_sum)
        return token

    def append(self, token: int, log_probability: float) -> None:
        """Continues with `token`."""
        self.sequence.append(token)
        self.log_probabilities.append(log_probability)
        if token in self.params.eos_token_ids:
            self.finished, self.finish_reason = True, "end"
        elif len(self.sequence) > self.params.max_new_tokens:
            self.finished = True

    @property
    def score(self) -> float:
        """The mean log-probability of the tokens, end token included."""
        return sum(self.log_probabilities) / len(self.log_probabilities)

    @property
    def min_token_score(self) -> float:
        """The log-probability of the least probable token."""
        return min(self.log_probabilities)

    def token_ids(self) -> list[int]:
        """The tokens so far without start, end and padding tokens."""
        return self.params.strip_special_tokens(self.sequence[1:])
