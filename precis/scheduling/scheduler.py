"""The queue of waiting work and the thread that feeds the scheduler from it."""

import heapq
import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future

from precis.errors import DeadlineExceeded, EngineClosed, EngineError, EngineFull
from precis.request import Request
from precis.scheduling.running_batch import RunningBatch, Sequence
from precis.stats import Stats

MAX_WAITING_TOKENS = 1 << 18
HALF_LIFE = 10.0  # seconds of work after which a measured rate counts half


class ThroughputEstimate:
    """How fast waiting tokens are worked off: a moving average over the time in which there was work."""

    def __init__(self) -> None:
        self._tokens, self._seconds = 2000.0, 1.0  # a first guess

    def add(self, tokens: int, seconds: float) -> None:
        """`tokens` left the queue in `seconds` of work."""
        fade = 0.5 ** (seconds / HALF_LIFE)
        self._tokens = self._tokens * fade + tokens
        self._seconds = self._seconds * fade + seconds

    @property
    def rate(self) -> float:
        """Tokens a second at present."""
        return self._tokens / self._seconds

    def seconds(self, tokens: int) -> float:
        """How long `tokens` will take at the present rate; at least a second."""
        return max(1.0, tokens * self._seconds / max(1.0, self._tokens))


class Scheduler:
    """Holds no reference to the Engine, so that an engine nobody uses any more is collected and its thread ends."""

    def __init__(self, scheduler: RunningBatch, max_waiting_tokens: int = MAX_WAITING_TOKENS) -> None:
        self.scheduler, self.max_waiting_tokens = scheduler, max_waiting_tokens
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Request, Sequence]] = deque()
        self._waiting_tokens = 0
        self._owners: dict[Sequence, Request] = {}  # of the jobs in the batch
        self._deadlines: list[tuple[float, int, list[Request]]] = []  # a heap; the list is emptied when it is answered
        self._order = itertools.count()
        self._drain = ThroughputEstimate()
        self._closed = False
        self.thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.thread.start()

    def submit(self, request: Request, bounded: bool) -> None:
        """Queues the request's first jobs. Raises EngineClosed, and where `bounded` EngineFull when the queue is."""
        entry = [request]
        with self._changed:
            if self._closed:
                raise EngineClosed("The engine is closed.")
            if bounded:
                self.check_room()
            request.offline = not bounded
            for job in request.jobs():
                self._waiting.append((request, job))
                self._count(request, len(job.ids))
            if request.deadline is not None:
                heapq.heappush(self._deadlines, (request.deadline, next(self._order), entry))
            self._changed.notify()

        def answered(_: Future) -> None:
            # A caller that leaves makes room at once; the queue skips its jobs when their turn comes.
            entry.clear()
            with self._changed:
                self._count(request, -request.waiting_tokens)

        request.future.add_done_callback(answered)

    def check_room(self) -> None:
        """Raises EngineFull when more than the bound waits."""
        if self._waiting_tokens > self.max_waiting_tokens:
            raise EngineFull(self._drain.seconds(self._waiting_tokens))

    def stats(self, cache_bytes: int) -> Stats:
        """A snapshot; from any thread."""
        with self._changed:
            return Stats(
                rows=self.scheduler.rows,
                running_rows=self.scheduler.running_rows,
                waiting_requests=len({id(request) for request, job in self._waiting if not job.gone()}),
                waiting_tokens=self._waiting_tokens,
                max_waiting_tokens=self.max_waiting_tokens,
                tokens_per_second=self._drain.rate,
                cache_bytes=cache_bytes,
            )

    def stop(self) -> None:
        """Ends the thread at its next step; work that is not done raises EngineClosed."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _count(self, request: Request, tokens: int) -> None:
        request.waiting_tokens += tokens
        self._waiting_tokens += tokens

    def _run(self) -> None:
        while self._has_work():
            began = time.perf_counter()
            self._expire()
            tokens = self._admit()
            if not self._reads_on():
                self._step()
            self._drain.add(tokens, time.perf_counter() - began)
        with self._changed:
            left = [request for request, _ in self._waiting] + [*self._owners.values()]
        for request in left:
            request.settle(EngineClosed("The engine was closed."))

    def _has_work(self) -> bool:
        """Waits for work; false when the engine is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._owners or self._closed)
            return not self._closed

    def _expire(self) -> None:
        now = time.monotonic()
        while self._deadlines and (self._deadlines[0][0] <= now or not self._deadlines[0][2]):
            with self._changed:
                _, _, entry = heapq.heappop(self._deadlines)
            for request in [*entry]:
                request.settle(DeadlineExceeded("The summary was not ready in time."))

    def _admit(self) -> int:
        """Lets waiting jobs join, oldest first, while rows and the budget of tokens last; returns the tokens read.

        Reading a text holds up all that run, so a crowd is not joined by who came after its eldest had begun: the
        longest summaries would pay for it. Where work waits longer than it runs, as in overload, all rows fill up.
        """
        chosen: dict[Sequence, Request] = {}
        eldest = self._eldest()
        with self._changed:
            while self._waiting and self._joins(chosen, *self._waiting[0], eldest):
                request, job = self._waiting.popleft()
                if not job.gone():
                    self._count(request, -len(job.ids))
                    chosen[job] = request
        failed = self.scheduler.admit(*chosen)
        for job, request in chosen.items():
            if job in failed:
                request.settle(EngineError(f"This text could not be read: {failed[job]}"))
            else:
                self._owners[job] = request
                request.joined = request.joined or time.monotonic()
        return sum(len(job.ids) for job in chosen)

    def _eldest(self) -> float:
        """When the first of those that run joined."""
        return min((request.joined for request in self._owners.values()), default=math.inf)

    def _reads_on(self) -> bool:
        """Whether another text can join first. Who waits for a whole list is not served by its first tokens, and steps
        of few rows are dear."""
        with self._changed:
            if not self._waiting:
                return False
            request, job = self._waiting[0]
            offline = all(request.offline for request in [request, *self._owners.values()])
            return offline and self._joins((), request, job, self._eldest())

    def _joins(self, chosen: Iterable[Sequence], request: Request, job: Sequence, eldest: float) -> bool:
        """Whether `job` may join together with those that were chosen before it; one text may always, however long."""
        if job.gone():
            return True
        read = sum(len(other.ids) for other in chosen)
        within = not read or read + len(job.ids) <= self.scheduler.budget
        welcome = request.asked <= eldest or not self.scheduler.is_crowd(*chosen, job)
        return within and welcome and self.scheduler.has_room(*chosen, job)

    def _step(self) -> None:
        try:
            left = self.scheduler.step()
        except Exception as error:
            for job in self.scheduler.drop_all():
                self._owners.pop(job).settle(EngineError(f"A step of this text's batch failed: {error}"))
            return
        for job in left:
            request = self._owners.pop(job)
            if job.finish_reason:
                self._advance(request)
        if not self._waiting:
            self.scheduler.tidy()

    def _advance(self, request: Request) -> None:
        """Moves a request on; later stages go first, their caller has waited longest."""
        try:
            jobs = request.advance()
        except Exception as error:
            request.settle(EngineError(f"This text failed: {error}"))
            return
        with self._changed:
            if request.future.done():  # its share of the count was given back; nothing may be added to it
                return
            for job in reversed(jobs):
                self._waiting.appendleft((request, job))
                self._count(request, len(job.ids))
