"""The admission policy: whether a new request is queued, or refused at once because it could not be finished in time.

Work is measured in tokens that wait, which bound memory, and in estimated seconds, which have to fit the request's time
limit. The scheduler serves callers in turn (fair_queue.py), so what another caller has waiting delays a request by no
more than the other's share of the time that the request takes: the fluid model of generalized processor sharing (Parekh
and Gallager 1993).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MIN_JUDGED_SECONDS = 10.0  # a shorter time limit ends the request before it has cost much
# Of the time that is left; the rest is for others that come later, for those that run beside it in the batch (see
# MAX_BATCH_SECONDS in policy.py), and for errors of the estimate.
PLANNED_SHARE = 0.85
IMPOSSIBLE = 1.5  # times the time limit: an estimate is not that wrong
BISECTIONS = 24  # of the waiting time of a refused request


@dataclass(frozen=True)
class CallerLoad:
    """What is not finished of a caller: the `seconds` that it takes alone, and the `tokens` that wait.

    `seconds_ahead` are those that are done before a further request of the caller, with which long texts take turns.
    """

    weight: float = 1.0
    seconds: float = 0.0
    tokens: int = 0
    seconds_ahead: float = 0.0


@dataclass(frozen=True)
class Newcomer:
    """A new request: the seconds that it is expected to take alone, and the seconds until its deadline."""

    seconds: float
    seconds_left: float

    @property
    def is_judged(self) -> bool:
        """Whether it has a deadline that an estimate can be compared with."""
        return MIN_JUDGED_SECONDS <= self.seconds_left < float("inf")

    @property
    def is_possible(self) -> bool:
        """Whether it could be finished in time if nothing else had to be done."""
        return not self.is_judged or self.seconds <= IMPOSSIBLE * self.seconds_left


def is_full(own: float | None, everyone: float, max_tokens: int) -> bool:
    """Whether too many tokens wait. `own` are those of the caller, None where callers are not told apart.

    A caller may hold as many as are left, so that others always find room: the dynamic thresholds of Choudhury and
    Hahne (1998). One caller gets half of all, two a third each.
    """
    return everyone + (own or 0) > max_tokens


class Admission:
    """The unfinished work of the newcomer's caller and of the others, against the limits."""

    def __init__(self, own: CallerLoad, others: Sequence[CallerLoad], max_tokens: int, *, shares: bool = True) -> None:
        """At most `max_tokens` may wait, and if the caller `shares` them, of it no more than are left (see is_full)."""
        self._own, self._max_tokens, self._shares = own, max_tokens, shares
        loads = [own, *others]
        self._weights = np.array([load.weight for load in loads])
        self._seconds = np.array([load.seconds for load in loads])
        self._tokens = np.array([load.tokens for load in loads], dtype=np.float64)

    def seconds_until_done(self, newcomer: Newcomer, service: float = 0.0) -> float:
        """In how many seconds `newcomer` is expected to be finished, once `service` has been done (see _remaining).

        A newcomer's own tokens are not counted, because a queue that is almost full would refuse long texts for ever.
        """
        done = self._remaining(service)
        share_done = done[0] / self._seconds[0] if self._seconds[0] else 0.0
        own = self._own.seconds_ahead * share_done + newcomer.seconds
        return own + float(np.minimum(done[1:], self._weights[1:] / self._own.weight * own).sum())

    def retry_after(self, newcomer: Newcomer) -> float | None:
        """None if `newcomer` is admitted; else after how many seconds it will be, at most its time limit."""
        if self.admits(newcomer):
            return None
        low, high = 0.0, float((self._seconds / self._weights).max())
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            low, high = (low, middle) if self.admits(newcomer, middle) else (middle, high)
        seconds = float((self._seconds - self._remaining(high)).sum())
        return min(max(1.0, seconds), max(1.0, newcomer.seconds_left))

    def admits(self, newcomer: Newcomer, service: float = 0.0) -> bool:
        """Whether the newcomer is queued, once `service` has been done (see _remaining)."""
        remaining = self._remaining(service)
        rest = np.divide(remaining, self._seconds, out=np.zeros_like(remaining), where=self._seconds > 0)
        waiting = self._tokens * rest
        if is_full(float(waiting[0]) if self._shares else None, float(waiting.sum()), self._max_tokens):
            return False
        if not newcomer.is_judged:
            return True
        # Its estimate alone may be a little too high (IMPOSSIBLE), and then nothing would be gained by waiting.
        planned = PLANNED_SHARE * newcomer.seconds_left
        return self.seconds_until_done(newcomer, service) <= max(planned, newcomer.seconds)

    def _remaining(self, service: float) -> npt.NDArray[np.float64]:
        """Each caller's seconds that are left when each has had up to `service` seconds times its weight."""
        return np.maximum(0.0, self._seconds - service * self._weights)
