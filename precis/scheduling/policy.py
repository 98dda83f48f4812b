"""The joining policy: which waiting sequence may join the running batch between two decode steps.

Prefilling a text delays all running sequences, so between two steps only a limited number of tokens is prefilled. A
batch that is efficient already admits nothing newer than its oldest request: more rows would gain little throughput,
and the longest summaries would pay for it. Under overload, where requests wait longer than they run, the oldest waiting
request is older than the running ones, and all rows fill up (docs/log.md#joining-policy).

A ranking (extraction) takes no rows. Its tokens count as prefilled ones, because it delays the others in the same way,
and only a few rankings are encoded ahead of their turn.
"""

import math
from dataclasses import dataclass, replace

MAX_RANKINGS = 4  # whose encoded texts are in memory


@dataclass(frozen=True)
class Candidate:
    """A waiting sequence: its rows (beams; a ranking has none), the tokens to prefill or score, and when its request
    was submitted (monotonic time)."""

    rows: int
    tokens: int
    submitted_at: float


@dataclass(frozen=True)
class BatchState:
    """The running batch with what has been admitted since its last step.

    `prefill_tokens` are those of the sequences admitted since the last step, out of `max_prefill_tokens`. From
    `efficient_rows` on more rows gain little. `oldest_start` is when the first of the requests that ran at the last
    step was started (monotonic time), infinite if none ran. `rankings` are those that are not finished.
    """

    free_rows: int
    running_rows: int
    efficient_rows: int
    max_prefill_tokens: int
    prefill_tokens: int = 0
    oldest_start: float = math.inf
    rankings: int = 0

    def admit(self, candidate: Candidate) -> "BatchState":
        """The state with `candidate` in the batch."""
        return replace(
            self,
            free_rows=self.free_rows - candidate.rows,
            running_rows=self.running_rows + candidate.rows,
            prefill_tokens=self.prefill_tokens + candidate.tokens,
            rankings=self.rankings + (candidate.rows == 0),
        )


def may_join(candidate: Candidate, batch: BatchState) -> bool:
    """Whether `candidate`, the first in the queue, may join `batch` before its next decode step."""
    if candidate.rows > batch.free_rows or (candidate.rows == 0 and batch.rankings >= MAX_RANKINGS):
        return False
    # The first text may be longer than the limit, because it would never be admitted otherwise.
    if batch.prefill_tokens and batch.prefill_tokens + candidate.tokens > batch.max_prefill_tokens:
        return False
    return batch.running_rows < batch.efficient_rows or candidate.submitted_at <= batch.oldest_start
