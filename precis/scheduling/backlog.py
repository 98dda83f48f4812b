"""The requests that are not finished, and their work: in all, of each caller, and what long texts hold back."""

from collections import deque
from dataclasses import dataclass, field

from precis.request import Request
from precis.scheduling.sequence import Sequence
from precis.scheduling.work import Work, WorkCosts


@dataclass
class _Unfinished:
    """What is not finished of a request: the work of each sequence, and those that are not yet in the queue."""

    work: dict[Sequence, Work] = field(default_factory=dict)
    held_back: deque[Sequence] = field(default_factory=deque)
    held_back_work: Work = field(default_factory=Work)


@dataclass
class _Caller:
    """The requests of a caller and their work, without what is held back."""

    requests: set[Request] = field(default_factory=set)
    work: Work = field(default_factory=Work)


class RequestBacklog:
    """Counts the work of requests as their sequences are queued and finished. Not thread-safe."""

    def __init__(self) -> None:
        self.costs = WorkCosts()
        self._requests: dict[Request, _Unfinished] = {}
        self._long: dict[Request, _Unfinished] = {}  # those of which something is held back
        self._callers: dict[str | None, _Caller] = {}
        self._work = Work()  # without what is held back

    @property
    def requests(self) -> list[Request]:
        """All unfinished requests."""
        return [*self._requests]

    @property
    def held_back_tokens(self) -> int:
        """Tokens that are not yet in the queue."""
        return int(sum(unfinished.held_back_work.tokens for unfinished in self._long.values()))

    def add(self, request: Request) -> None:
        """A new request, without sequences so far."""
        self._requests[request] = _Unfinished()
        self._callers.setdefault(request.caller, _Caller()).requests.add(request)

    def remove(self, request: Request) -> None:
        """A request that is done; again does nothing."""
        unfinished = self._requests.pop(request, None)
        if unfinished is None:
            return
        self._long.pop(request, None)
        caller = self._callers[request.caller]
        caller.requests.discard(request)
        counted = Work()
        for work in unfinished.work.values():
            counted.add(work)
        counted.add(unfinished.held_back_work, -1)
        self._work.add(counted, -1)
        caller.work.add(counted, -1)
        if not caller.requests:
            del self._callers[request.caller]

    def hold_back(self, request: Request, sequences: list[Sequence], window: int) -> list[Sequence]:
        """Counts new sequences of `request`; returns the first `window` of them, which are to be queued now."""
        unfinished = self._requests[request]
        for work in unfinished.work.values():  # of the stage before, whose last sequences were finished in one step
            self._count(request, work, -1)
        unfinished.work = {sequence: self.costs.of(sequence) for sequence in sequences}
        for sequence in sequences[:window]:
            self._count(request, unfinished.work[sequence])
        unfinished.held_back = deque(sequences[window:])
        unfinished.held_back_work = Work()
        for sequence in unfinished.held_back:
            unfinished.held_back_work.add(unfinished.work[sequence])
        if unfinished.held_back:
            self._long[request] = unfinished
        return sequences[:window]

    def finish(self, request: Request, sequence: Sequence) -> Sequence | None:
        """Counts a finished sequence; returns one that was held back and is to be queued instead, if there is one."""
        self.costs.note_length(sequence)
        unfinished = self._requests.get(request)
        if unfinished is None or sequence not in unfinished.work:
            return None
        self._count(request, unfinished.work.pop(sequence), -1)
        if not unfinished.held_back:
            return None
        following = unfinished.held_back.popleft()
        unfinished.held_back_work.add(unfinished.work[following], -1)
        self._count(request, unfinished.work[following])
        if not unfinished.held_back:
            del self._long[request]
        return following

    def seconds_of(self, sequences: list[Sequence]) -> float:
        """How long the sequences take alone."""
        total = Work()
        for sequence in sequences:
            total.add(self.costs.of(sequence))
        return self.costs.seconds(total)

    def seconds(self, newcomer: float = 0.0, caller: str | None = None) -> float:
        """How long it takes until a request that takes `newcomer` seconds alone has only itself before it.

        Of `caller`'s requests only, if one is given. What a long text holds back takes turns with the newcomer, and so
        delays it by no more than it takes itself.
        """
        work = self._work if caller is None else self._callers[caller].work
        held_back = (
            self.costs.seconds(unfinished.held_back_work)
            for request, unfinished in self._long.items()
            if caller is None or request.caller == caller
        )
        return self.costs.seconds(work) + sum(min(seconds, newcomer) for seconds in held_back)

    def of_caller(self, caller: str, newcomer: float) -> tuple[int, float]:
        """The tokens of `caller` that wait in the queue, and `seconds` of its requests."""
        if caller not in self._callers:
            return 0, 0.0
        tokens = sum(request.waiting_tokens for request in self._callers[caller].requests)
        return tokens, self.seconds(newcomer, caller)

    def _count(self, request: Request, work: Work, sign: int = 1) -> None:
        self._work.add(work, sign)
        self._callers[request.caller].work.add(work, sign)
