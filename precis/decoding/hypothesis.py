"""A finished sequence of a search."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """The tokens of a finished sequence without special tokens, and how probable it is.

    `score` is the mean log-probability of its tokens, end token included, after the logits processors; that of the
    least probable one is `min_token_score`. `finish_reason` is "end" after an end token, else "length".
    """

    token_ids: list[int]
    score: float
    min_token_score: float
    finish_reason: str
