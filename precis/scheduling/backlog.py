"""The work that is not finished: of each request and each caller, in seconds and in waiting tokens."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from precis.errors import TooMuchWork
from precis.request import Request
from precis.scheduling.admission import Admission, CallerLoad, Newcomer, is_full
from precis.scheduling.expected_returns import ExpectedReturns
from precis.scheduling.sequence import Sequence
from precis.scheduling.work import Work, WorkCosts

# What one request counts as at most: it takes turns, so what else a long text has fills no queue.
MAX_COUNTED_TOKENS, MAX_COUNTED_SHARE = 8192, 1 / 4


@dataclass
class _Unfinished:
    """A request: the work that is left of each unfinished sequence of this stage, the work of `later` stages, the sum
    of both, and the tokens of sequences that wait."""

    sequences: dict[Sequence, Work] = field(default_factory=dict)
    later: Work = field(default_factory=Work)
    work: Work = field(default_factory=Work)
    tokens: int = 0


@dataclass
class _Caller:
    """A caller's requests, those of several sequences among them, their work and counted tokens."""

    weight: float = 1.0
    requests: set[Request] = field(default_factory=set)
    long: set[Request] = field(default_factory=set)
    work: Work = field(default_factory=Work)
    tokens: int = 0


@dataclass(frozen=True)
class Judgement:
    """Whether the admission policy `admits` a new request of `caller`, of `work` and `tokens`.

    `admission` has what it was judged by; for a refused one, also what others that were refused will bring.
    """

    caller: str | None
    work: Work
    tokens: int
    newcomer: Newcomer
    admission: Admission
    admits: bool

    @property
    def estimated_seconds(self) -> float:
        """In how many seconds the request is expected to be finished."""
        return self.admission.seconds_until_done(self.newcomer)

    def retry_after(self) -> float:
        """After how many seconds, whole ones as in HTTP, a refused request will be admitted; at most its time limit."""
        return float(math.ceil(self.admission.retry_after(self.newcomer) or 1.0))


class RequestBacklog:
    """Counts the work of requests as their sequences are queued, started and finished. Not thread-safe."""

    def __init__(self, max_waiting_tokens: int) -> None:
        """Of a queue of `max_waiting_tokens` tokens."""
        self._max_counted = min(MAX_COUNTED_TOKENS, int(max_waiting_tokens * MAX_COUNTED_SHARE))
        self.costs = WorkCosts()
        self.waiting_tokens = 0  # in all
        self._counted_tokens = 0
        self._requests: dict[Request, _Unfinished] = {}
        self._callers: dict[str | None, _Caller] = {}
        self._returns = ExpectedReturns()

    @property
    def requests(self) -> list[Request]:
        """All unfinished requests."""
        return [*self._requests]

    def is_full(self, name: str | None, max_tokens: int) -> bool:
        """Whether too many tokens wait for a further request of that caller. May be called from any thread."""
        caller = self._callers.get(name) if name is not None else None
        return is_full(caller.tokens if caller else None, self._counted_tokens, max_tokens)

    def add(self, request: Request, sequences: list[Sequence]) -> None:
        """New sequences of `request` wait: its first ones, or those of its next stage."""
        unfinished = self._requests.setdefault(request, _Unfinished())
        caller = self._callers.setdefault(request.caller, _Caller())
        caller.weight = request.weight
        caller.requests.add(request)
        for sequence in sequences:
            unfinished.sequences[sequence] = work = self.costs.of(sequence)
            unfinished.work.add(work)
            caller.work.add(work)
        later = self.costs.of_later_stages(sequences)
        for work in (unfinished.work, caller.work):
            work.add(unfinished.later, -1)
            work.add(later)
        unfinished.later = later
        if len(unfinished.sequences) > 1:
            caller.long.add(request)
        self._count_tokens(request, sum(sequence.tokens for sequence in sequences))

    def start(self, request: Request, sequence: Sequence) -> None:
        """A sequence of `request` waits no more."""
        if request in self._requests:
            self._count_tokens(request, -sequence.tokens)
            self.advance(request, sequence, Work(len(sequence.input_ids)))

    def advance(self, request: Request, sequence: Sequence, done: Work) -> None:
        """So much of the work of a running sequence of `request` is done."""
        unfinished = self._requests.get(request)
        remaining = unfinished.sequences.get(sequence) if unfinished else None
        if unfinished is None or remaining is None:
            return
        done = remaining.at_most(done)
        for work in (remaining, unfinished.work, self._callers[request.caller].work):
            work.add(done, -1)

    def seconds_left(self, sequences: Iterable[tuple[Request, Sequence]]) -> float:
        """How long the work that is left of `sequences` takes, of those whose requests have a deadline."""
        total = Work()
        for request, sequence in sequences:
            unfinished = self._requests.get(request) if request.deadline is not None else None
            if unfinished and (work := unfinished.sequences.get(sequence)):
                total.add(work)
        return self.costs.rates()(total)

    def finish(self, request: Request, sequence: Sequence) -> None:
        """A sequence of `request` is finished."""
        self.costs.note_length(sequence)
        unfinished = self._requests.get(request)
        if unfinished is None or sequence not in unfinished.sequences:
            return
        caller, work = self._callers[request.caller], unfinished.sequences.pop(sequence)
        unfinished.work.add(work, -1)
        caller.work.add(work, -1)
        if len(unfinished.sequences) <= 1:
            caller.long.discard(request)

    def remove(self, request: Request) -> None:
        """A request that is done; again does nothing."""
        unfinished = self._requests.get(request)
        if unfinished is None:
            return
        self._count_tokens(request, -unfinished.tokens)
        del self._requests[request]
        caller = self._callers[request.caller]
        caller.work.add(unfinished.work, -1)
        caller.requests.discard(request)
        caller.long.discard(request)
        if not caller.requests:
            del self._callers[request.caller]
            self._returns.discard(request.caller)

    def judge(self, request: Request, sequences: list[Sequence], max_tokens: int) -> Judgement:
        """What the admission policy decides by. Raises TooMuchWork if the request could never be finished in time."""
        total, rates = Work(), self.costs.rates()
        for sequence in sequences:
            total.add(self.costs.of(sequence))
        seconds_left = math.inf if request.deadline is None else request.deadline - time.monotonic()
        # Later stages are a guess, mostly too high: nothing is refused for good because of them.
        newcomer = Newcomer(rates(total), seconds_left)
        if not newcomer.is_possible:
            raise TooMuchWork(newcomer.seconds, seconds_left)
        total.add(self.costs.of_later_stages(sequences))
        newcomer = Newcomer(rates(total), seconds_left)
        tokens = min(sum(sequence.tokens for sequence in sequences), self._max_counted)
        return self._judgement(request.caller, request.weight, len(sequences), total, tokens, newcomer, max_tokens)

    def judge_unknown(self, name: str | None, seconds_left: float, max_tokens: int) -> Judgement:
        """A request of which only the caller is known, as if it were like those that the caller has already."""
        caller = self._callers.get(name, _Caller())
        part = 1 / max(1, len(caller.requests))
        work = caller.work.scaled(part)
        newcomer = Newcomer(self.costs.rates()(work), seconds_left)
        return self._judgement(name, 1.0, 1, work, round(caller.tokens * part), newcomer, max_tokens)

    def expect_return(self, judgement: Judgement, seconds: float) -> None:
        """A refused request will come back after so many seconds. At its time limit it has no place in the order."""
        if seconds < judgement.newcomer.seconds_left:
            now = time.monotonic()
            self._returns.add(judgement.caller, now + seconds, judgement.work, judgement.tokens, now)

    def check_prefill(self, tokens: int, deadline: float) -> None:
        """Raises TooMuchWork if the prefill of `tokens` alone takes longer than until `deadline`."""
        newcomer = Newcomer(self.costs.rates()(Work(tokens)), deadline - time.monotonic())
        if not newcomer.is_possible:
            raise TooMuchWork(newcomer.seconds, newcomer.seconds_left)

    def _judgement(
        self,
        name: str | None,
        weight: float,
        sequences: int,
        work: Work,
        tokens: int,
        newcomer: Newcomer,
        max_tokens: int,
    ) -> Judgement:
        is_due = self._returns.take(name, time.monotonic())  # and so comes before those that are not

        def admission(*, own_returns: bool, others_returns: bool) -> Admission:
            own = self._load(name, sequences, weight=weight, with_returns=own_returns)
            others = [
                self._load(key, weight=caller.weight, with_returns=others_returns)
                for key, caller in self._callers.items()
                if key != name
            ]
            return Admission(own, others, max_tokens, shares=name is not None)

        present = admission(own_returns=not is_due, others_returns=False)
        if present.admits(newcomer):
            return Judgement(name, work, tokens, newcomer, present, admits=True)
        return Judgement(name, work, tokens, newcomer, admission(own_returns=True, others_returns=True), admits=False)

    def _load(self, name: str | None, sequences: int = 0, *, weight: float, with_returns: bool) -> CallerLoad:
        """The caller's load as a further request with so many sequences meets it."""
        seconds, caller = self.costs.rates(), self._callers.get(name, _Caller())
        work, tokens = self._returns.of(name) if with_returns else (Work(), 0)
        returning = seconds(work)
        ahead = self._seconds_ahead(caller, sequences) + returning
        return CallerLoad(weight, seconds(caller.work) + returning, caller.tokens + tokens, ahead)

    def _seconds_ahead(self, caller: _Caller, sequences: int) -> float:
        """The work of the caller's requests that comes before a further one with so many sequences.

        Requests take turns, so of a longer one only as many sequences are before it.
        """
        seconds = self.costs.rates()
        ahead = seconds(caller.work)
        for request in caller.long:
            unfinished = self._requests[request]
            share = min(1.0, sequences / len(unfinished.sequences))
            ahead -= (1 - share) * seconds(unfinished.work)
        return max(0.0, ahead)

    def _count_tokens(self, request: Request, change: int) -> None:
        unfinished, caller = self._requests[request], self._callers[request.caller]
        before = min(unfinished.tokens, self._max_counted)
        unfinished.tokens += change
        self.waiting_tokens += change
        counted = min(unfinished.tokens, self._max_counted) - before
        caller.tokens += counted
        self._counted_tokens += counted
