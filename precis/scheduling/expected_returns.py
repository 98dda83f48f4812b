"""The requests that were refused with a time to come back (Retry-After), and are expected then.

A time to come back is only true if the others that were refused before are counted, and if nobody takes their place.
So a caller's new request comes after its refused ones, unless one of these is due: then it counts as that one, since
requests that come again cannot be told from new ones. Nobody else waits for a caller's refused requests.
"""

import heapq
from dataclasses import dataclass, field

from precis.scheduling.work import Work

LATE_SECONDS = 3.0  # after its time, when a request is expected no more
MAX_RETURNS = 4096  # of all callers; further ones are not expected


@dataclass(frozen=True, order=True)
class _Return:
    at: float
    work: Work = field(compare=False)
    tokens: int = field(compare=False)


@dataclass
class _CallerReturns:
    """The returns of a caller as a heap, the sum of their work, and of their tokens."""

    heap: list[_Return] = field(default_factory=list)
    work: Work = field(default_factory=Work)
    tokens: int = 0


class ExpectedReturns:
    """The expected returns of each caller. Times are those of one clock, in seconds. Not thread-safe."""

    def __init__(self) -> None:
        self._callers: dict[str | None, _CallerReturns] = {}
        self._count = 0

    def add(self, caller: str | None, at: float, work: Work, tokens: int, now: float) -> None:
        """A refused request of `work` and `tokens` will come back at the time `at`."""
        for name in [*self._callers]:
            while name in self._callers and self._callers[name].heap[0].at < now - LATE_SECONDS:
                self._pop(name)
        if self._count >= MAX_RETURNS:
            return
        returns = self._callers.setdefault(caller, _CallerReturns())
        heapq.heappush(returns.heap, _Return(at, work, tokens))
        returns.work.add(work)
        returns.tokens += tokens
        self._count += 1

    def take(self, caller: str | None, now: float) -> bool:
        """Whether a request of the caller is due; it is expected no more."""
        while returns := self._callers.get(caller):
            at = returns.heap[0].at
            if at > now:
                return False
            self._pop(caller)
            if at >= now - LATE_SECONDS:
                return True
        return False

    def of(self, caller: str | None) -> tuple[Work, int]:
        """The work and the tokens of all returns of the caller."""
        returns = self._callers.get(caller, _CallerReturns())
        return returns.work, returns.tokens

    def discard(self, caller: str | None) -> None:
        """Forgets the caller's returns, since it has room for all of them."""
        self._count -= len(self._callers.pop(caller, _CallerReturns()).heap)

    def _pop(self, caller: str | None) -> None:
        returns = self._callers[caller]
        taken = heapq.heappop(returns.heap)
        returns.work.add(taken.work, -1)
        returns.tokens -= taken.tokens
        self._count -= 1
        if not returns.heap:
            del self._callers[caller]
