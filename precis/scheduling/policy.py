"""The joining policy: which waiting sequence may join the running batch between two decode steps.

Prefilling a text delays all running sequences, so between two steps only a limited number of tokens is prefilled. A
batch that is efficient already admits nothing newer than its oldest sequence: more rows would gain little throughput,
and the longest summaries would pay for it. Under overload, where requests wait longer than they run, the oldest waiting
request is older than the running ones, and all rows fill up (docs/log.md#joining-policy). A streamed text joins
at once, because its first token is waited for more than its last.

Sequences that run together end together, so a wide batch of long ones would end all of them late. Beyond an efficient
batch, those with a deadline join only as far as the batch's work takes MAX_BATCH_SECONDS.

Between callers: while others are about, one caller's rows make an efficient batch and no more, it prefills one text at
a time once some are running, and who has fewer rows than another may join although the batch is efficient. A caller
that is ahead of its share adds nothing while a caller that was served less is running, because every prefill and every
row would delay that one (docs/log.md#fair-queue).

A ranking (extraction) takes no rows. Its tokens count as prefilled ones, because it delays the others in the same way,
and only a few rankings are encoded ahead of their turn, one of each caller while others are about.
"""

import math
from dataclasses import dataclass, replace

MAX_BATCH_SECONDS = 10.0  # a sixth of the service's usual time limit
MAX_RANKINGS = 4  # whose encoded texts are in memory
FEW_ROWS = 2  # a caller with no more prefills as many texts between two steps as fit
MAX_RANKINGS_PER_CALLER = 2  # the encoder may read two texts side by side; one while others are about


@dataclass(frozen=True)
class Candidate:
    """A waiting sequence, the next one of its caller.

    It has `rows` (beams; a ranking has none) and `tokens` to prefill or score; its request was submitted at
    `submitted_at` (monotonic time). `caller_rows` and `caller_rankings` are what its caller runs already. `is_streamed`
    says that its tokens are shown as they come, and `is_ahead` that a caller with less service is running. `seconds` is
    its expected work, 0 without a deadline.
    """

    rows: int
    tokens: int
    submitted_at: float
    caller_rows: int = 0
    caller_rankings: int = 0
    is_streamed: bool = False
    is_ahead: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class BatchState:
    """The running batch with what has been admitted since its last step.

    `prefill_tokens` are those of the sequences admitted since the last step, out of `max_prefill_tokens`. From
    `efficient_rows` on more rows gain little. `oldest_start` is when the first of the sequences that ran at the last
    step was started (monotonic time), infinite if none ran. `rankings` are those that are not finished. `most_rows` are
    those of the caller that has most, and `is_shared` says that there are several callers, now or a short time ago.
    `seconds` is the work that is left of all with a deadline.
    """

    free_rows: int
    running_rows: int
    efficient_rows: int
    max_prefill_tokens: int
    prefill_tokens: int = 0
    oldest_start: float = math.inf
    rankings: int = 0
    most_rows: int = 0
    is_shared: bool = False
    seconds: float = 0.0

    def admit(self, candidate: Candidate) -> "BatchState":
        """The state with `candidate` in the batch."""
        return replace(
            self,
            free_rows=self.free_rows - candidate.rows,
            running_rows=self.running_rows + candidate.rows,
            prefill_tokens=self.prefill_tokens + candidate.tokens,
            rankings=self.rankings + (candidate.rows == 0),
            most_rows=max(self.most_rows, candidate.caller_rows + candidate.rows),
            seconds=self.seconds + candidate.seconds,
        )

    @property
    def slows_with_rows(self) -> bool:
        """Whether steps take longer the more rows they have, as on CPUs."""
        return self.efficient_rows < self.free_rows + self.running_rows

    def has_room(self, candidate: Candidate) -> bool:
        """Whether there are rows and prefill tokens for `candidate`; if not, none behind it gets them either."""
        # The first text may be longer than the limit, because it would never be admitted otherwise.
        fits = not self.prefill_tokens or self.prefill_tokens + candidate.tokens <= self.max_prefill_tokens
        return candidate.rows <= self.free_rows and fits


def may_join(candidate: Candidate, batch: BatchState) -> bool:
    """Whether `candidate` may join `batch` before its next decode step."""
    if candidate.is_ahead or not batch.has_room(candidate):
        return False
    most_rankings = 1 if batch.is_shared else MAX_RANKINGS_PER_CALLER
    if candidate.rows == 0 and (batch.rankings >= MAX_RANKINGS or candidate.caller_rankings >= most_rankings):
        return False
    if batch.is_shared and batch.prefill_tokens and candidate.caller_rows > FEW_ROWS and batch.slows_with_rows:
        return False
    rows = candidate.caller_rows + candidate.rows
    if batch.running_rows < batch.efficient_rows or rows < batch.most_rows:
        return True
    if batch.is_shared and rows > batch.efficient_rows:
        return False
    if batch.slows_with_rows and candidate.seconds and batch.seconds + candidate.seconds > MAX_BATCH_SECONDS:
        return False
    return candidate.is_streamed or candidate.submitted_at <= batch.oldest_start
