"""One sequence: a text, or a chunk of a long one, on its way through the queue and the running batch."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from precis.decoding.hypothesis import Hypothesis
from precis.params import ResolvedParams


@dataclass(eq=False)
class Sequence:
    """A source with what is wanted of it: a summary, or the scores of given sentences (a ranking).

    The result is there once `finish_reason` is set.

    Attributes:
        input_ids: the source's tokens, within the model's input limit.
        params: the parameters of its request.
        is_cancelled: whether nobody waits for the result any more; called between steps.
        on_tokens: called after each step with all tokens that are certain so far.
        sentences: of a ranking by the decoder, the tokens of the sentences to score, with end tokens; else empty.
        sentence_spans: of a ranking by the encoder, each sentence's tokens in the source, first and past the last.
        priority: of a ranking by the decoder; the one with the least is scored next, and None has to wait. Called
            between steps.
        scores: of a ranking, the sentences' scores.
        token_ids: the generated tokens without special tokens.
        score: the mean log-probability of the generated tokens, end token included; that of the least probable one is
            `min_token_score`.
        hypotheses: where the summary is to be chosen among the finished beams, all of them, the most probable first.
        finish_reason: "end" after an end token, "length" after the longest allowed summary, "" before.
        first_token_at: `time.monotonic()` of the first token, infinite before.
    """

    input_ids: list[int]
    params: ResolvedParams
    is_cancelled: Callable[[], bool]
    on_tokens: Callable[[list[int]], None] | None = None
    sentences: list[list[int]] = field(default_factory=list)
    sentence_spans: list[tuple[int, int]] = field(default_factory=list)
    priority: Callable[[], float | None] = lambda: 0.0
    scores: list[float] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    score: float = math.nan
    min_token_score: float = math.nan
    hypotheses: list[Hypothesis] = field(default_factory=list)
    finish_reason: str = ""
    first_token_at: float = math.inf

    @property
    def is_ranking(self) -> bool:
        """Whether sentences are to be scored instead of a summary generated."""
        return bool(self.sentences or self.sentence_spans)

    @property
    def rows(self) -> int:
        """How many rows of the KV cache it takes: one a beam, and none for a ranking."""
        return 0 if self.is_ranking else self.params.num_beams

    @property
    def tokens(self) -> int:
        """The tokens that are known beforehand to be computed: those of the source, and of the sentences to score."""
        return len(self.input_ids) + sum(map(len, self.sentences))
