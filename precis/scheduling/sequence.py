"""One sequence to generate: a text, or a chunk of a long one, on its way through the queue and the running batch."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from precis.params import ResolvedParams


@dataclass(eq=False)
class Sequence:
    """The source and parameters of a sequence, and its result once `finish_reason` is set.

    Attributes:
        input_ids: the source's tokens, within the model's input limit.
        params: the parameters of its request.
        is_cancelled: whether nobody waits for the result any more; called between steps.
        on_tokens: called after each step with all tokens that are certain so far.
        token_ids: the generated tokens without special tokens.
        finish_reason: "end" after an end token, "length" after the longest allowed summary, "" before.
        first_token_at: `time.monotonic()` of the first token, infinite before.
    """

    input_ids: list[int]
    params: ResolvedParams
    is_cancelled: Callable[[], bool]
    on_tokens: Callable[[list[int]], None] | None = None
    token_ids: list[int] = field(default_factory=list)
    finish_reason: str = ""
    first_token_at: float = math.inf

    @property
    def rows(self) -> int:
        """How many rows of the KV cache it takes: one a beam."""
        return self.params.num_beams
