"""Greedy search over one row (transformers `_sample` with `do_sample=False`)."""

import math

import numpy as np
import numpy.typing as npt

from precis.decoding.logits_processors import apply_logits_processors
from precis.params import ResolvedParams


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
    def accepts_argmax(self) -> bool:
        """Whether `append` may be called with the argmax of the raw logits, because no logits processor applies."""
        return self.params.has_no_processors

    def advance(self, logits: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Chooses the next token from logits (1, vocabulary), which are overwritten.

        Returns the token (1,) and the index of the row it continues (1,), as `BeamSearch.advance` does.
        """
        scores = apply_logits_processors(np.array([self.sequence]), logits, self.params)[0]
        token = int(scores.argmax())
        scores -= scores[token]
        return self.append(token, -math.log(np.exp(scores, out=scores).sum()))

    def append(self, token: int, log_probability: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Continues with `token`; returns what `advance` returns."""
        self.sequence.append(token)
        self.log_probabilities.append(log_probability)
        if token in self.params.eos_token_ids:
            self.finished, self.finish_reason = True, "end"
        elif len(self.sequence) > self.params.max_new_tokens:
            self.finished = True
        return np.array([token]), np.zeros(1, dtype=np.int64)

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
