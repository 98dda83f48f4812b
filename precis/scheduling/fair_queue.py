"""The waiting work by caller, in the order in which it should be served.

The discipline is the virtual token counter of Sheng et al., "Fairness in Serving Large Language Models" (OSDI 2024):
each caller has a counter of the work done for it, divided by its weight, and the one with the least is next. Tokens
differ in cost here, so the counters are in seconds. Who comes back from a pause starts at its own counter or where an
ideally shared counter would be by now, whichever is higher: nothing is saved up while idle, a debt stays, and a stream
of new callers starves nobody. The first work after a pause goes before that of callers who wait all the time, as with
Linux' scheduler (CFS) for processes that have slept.

Within a caller, requests take turns (round robin), one sequence each: a long text does not hold up its caller's others.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

FIRST_SECONDS = 0.5  # of a caller's work after a pause, which goes first
SHARE_HALF_LIFE = 1.0  # seconds
MEMORY_SECONDS = 10.0  # for which a caller without requests still counts as present

Request = TypeVar("Request")
Item = TypeVar("Item")


@dataclass(eq=False)
class Caller(Generic[Request, Item]):
    """A caller: `served` seconds of work divided by `weight`, of which `served_since_pause` since it had no requests.

    `requests` are those that are not finished, `rows` and `rankings` what runs; the scheduler counts the two.
    """

    weight: float = 1.0
    served: float = 0.0
    served_since_pause: float = 0.0
    requests: int = 0
    rows: int = 0
    rankings: int = 0
    left_at: float = 0.0  # when its last request was finished
    recent: float = 0.0  # see recent_seconds, at `charged_at`
    charged_at: float = 0.0
    waiting: deque[tuple[Request, deque[Item]]] = field(default_factory=deque)

    @property
    def priority(self) -> float:
        """The caller with the least is served next."""
        return self.served - max(0.0, FIRST_SECONDS - self.served_since_pause)

    def share(self, now: float) -> float:
        """The part of the last few seconds in which the engine worked for the caller, divided by its weight."""
        return self.recent_seconds(now) * math.log(2) / SHARE_HALF_LIFE / self.weight

    def recent_seconds(self, now: float) -> float:
        """Seconds of work done for the caller lately: after each SHARE_HALF_LIFE a half of them counts."""
        return self.recent * 0.5 ** ((now - self.charged_at) / SHARE_HALF_LIFE)

    def add(self, request: Request, items: Iterable[Item], *, first: bool = False) -> None:
        """Queues `items` of a request; with `first`, before the caller's other requests."""
        (self.waiting.appendleft if first else self.waiting.append)((request, deque(items)))

    def pop(self) -> None:
        """Removes the item whose turn it is; the request's next one waits behind the caller's other requests."""
        request, items = self.waiting.popleft()
        items.popleft()
        if items:
            self.waiting.append((request, items))


class FairQueue(Generic[Request, Item]):
    """The callers, busy and recent. Not thread-safe."""

    def __init__(self, is_cancelled: Callable[[Item], bool] = lambda _: False) -> None:
        """`is_cancelled` says whether an item is to be dropped when its turn comes."""
        self._is_cancelled = is_cancelled
        self._callers: dict[str | None, Caller[Request, Item]] = {}
        self._virtual = 0.0  # the counter of a caller that has had its exact share, when busy callers last changed
        self._work = 0.0  # seconds since then

    def __bool__(self) -> bool:
        return any(caller.waiting for caller in self._callers.values())

    @property
    def callers(self) -> Iterable[Caller[Request, Item]]:
        """The callers that have requests, or had some lately."""
        return self._callers.values()

    @property
    def waiting_requests(self) -> int:
        """Requests of which something waits."""
        return sum(not all(map(self._is_cancelled, items)) for caller in self.callers for _, items in caller.waiting)

    def heavy(self, now: float) -> set[Caller[Request, Item]]:
        """The callers that took more than their share lately: one more than a half of the engine, or as one of two such
        callers more than a third, and so on.
        """
        shares = sorted(((caller.share(now), caller) for caller in self.callers), key=lambda pair: -pair[0])
        count = max((rank for rank, (share, _) in enumerate(shares, 1) if share * (rank + 1) > 1), default=0)
        return {caller for _, caller in shares[:count]}

    def is_ahead(self, caller: Caller[Request, Item], *, of_rows: bool = False) -> bool:
        """Whether another caller that was served less runs something: with `of_rows`, something that takes rows."""
        return any(
            other.priority < caller.priority for other in self.callers if other.rows or (other.rankings and not of_rows)
        )

    def is_shared(self, now: float) -> bool:
        """Whether more than one caller is busy or has been in the last MEMORY_SECONDS."""
        return sum(not self._is_gone(caller, now) for caller in self._callers.values()) > 1

    def enter(self, name: str | None, weight: float, now: float) -> Caller[Request, Item]:
        """The caller of that name, which has one request more from now on. `now` is in seconds, of any clock."""
        for absent in [key for key, item in self._callers.items() if self._is_gone(item, now)]:
            del self._callers[absent]
        caller = self._callers.setdefault(name, Caller())
        caller.weight = weight
        if not caller.requests:
            self._advance()
            caller.served = max(caller.served, self._virtual)
            caller.served_since_pause = 0.0
        caller.requests += 1
        return caller

    def leave(self, caller: Caller[Request, Item], now: float) -> None:
        """A request of the caller is finished. With `now` minus infinity, it is forgotten after its last one."""
        if caller.requests == 1:
            self._advance()
        caller.requests -= 1
        caller.left_at = now

    def charge(self, caller: Caller[Request, Item], seconds: float, now: float) -> None:
        """Counts work that was done for the caller."""
        caller.recent = caller.recent_seconds(now) + seconds
        caller.charged_at = now
        caller.served += seconds / caller.weight
        caller.served_since_pause += seconds / caller.weight
        self._work += seconds

    def in_turn(self) -> Iterator[tuple[Caller[Request, Item], Request, Item]]:
        """The waiting callers with their next requests and items, the one whose turn it is first.

        A caller comes again if its item was popped meanwhile.
        """
        turns = [(caller.priority, number, caller) for number, caller in enumerate(self.callers) if caller.waiting]
        heapq.heapify(turns)
        while turns:
            _, number, caller = heapq.heappop(turns)
            self._drop_cancelled(caller)
            if caller.waiting:
                request, items = caller.waiting[0]
                item = items[0]
                yield caller, request, item
                if not items or items[0] is not item:
                    heapq.heappush(turns, (caller.priority, number, caller))

    def _advance(self) -> None:
        """Brings the virtual counter up to date, before the busy callers change."""
        busy = [caller for caller in self.callers if caller.requests]
        if len(busy) == 1:  # it has had everything, which makes up for what it lacked before
            self._virtual = busy[0].served
        elif busy:
            self._virtual += self._work / sum(caller.weight for caller in busy)
            self._virtual = max(self._virtual, min(caller.served for caller in busy))
        else:  # nobody has waited for anybody
            self._virtual = 0.0
            for caller in self.callers:
                caller.served = 0.0
        self._work = 0.0

    def _drop_cancelled(self, caller: Caller[Request, Item]) -> None:
        while caller.waiting:
            items = caller.waiting[0][1]
            while items and self._is_cancelled(items[0]):
                items.popleft()
            if items:
                return
            caller.waiting.popleft()

    def _is_gone(self, caller: Caller[Request, Item], now: float) -> bool:
        return not caller.requests and caller.left_at < now - MEMORY_SECONDS
