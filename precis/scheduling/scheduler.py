"""The queue of waiting sequences, and the thread that admits them to the running batch and steps it."""

import heapq
import itertools
import math
import threading
import time
from collections import deque
from concurrent.futures import Future

from precis.errors import DeadlineExceeded, EngineClosed, EngineError, EngineFull
from precis.request import Request, Summary
from precis.scheduling.policy import BatchState, Candidate, may_join
from precis.scheduling.running_batch import RunningBatch
from precis.scheduling.sequence import Sequence
from precis.scheduling.throughput import ThroughputEstimate
from precis.stats import Stats

MAX_WAITING_TOKENS = 1 << 18


class Scheduler:
    """Owns the queue, the deadlines and the thread; `RunningBatch` does the computing on that thread.

    It has no reference to the Engine, so that an engine nobody uses is garbage collected, which ends the thread.
    """

    def __init__(self, batch: RunningBatch, max_waiting_tokens: int = MAX_WAITING_TOKENS) -> None:
        """Starts the thread. While more than `max_waiting_tokens` tokens wait, new requests are refused."""
        self.batch, self.max_waiting_tokens = batch, max_waiting_tokens
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Request, Sequence]] = deque()
        self._waiting_tokens = 0
        self._running: dict[Sequence, Request] = {}  # the sequences in the batch
        # A heap of (deadline, order of arrival, request or nothing once it is done).
        self._deadlines: list[tuple[float, int, list[Request]]] = []
        self._arrivals = itertools.count()
        self._throughput = ThroughputEstimate()
        self._closed = False
        self.thread = threading.Thread(target=self._run, name="precis-scheduler", daemon=True)
        self.thread.start()

    def submit(self, request: Request, *, bounded: bool) -> None:
        """Queues the first sequences of `request`, unless it is done; from any thread.

        Raises EngineClosed, and EngineFull if the queue is full and `bounded` is true. A request that is not bounded is
        an offline one: its caller waits for a list of texts, not for the first tokens of one.
        """
        entry = [request]
        with self._changed:
            if self._closed:
                raise EngineClosed("The engine is closed.")
            if bounded:
                self.check_admission()
            if request.future.done():  # its text needs no model
                return
            request.offline = not bounded
            for sequence in request.start():
                self._waiting.append((request, sequence))
                self._count_waiting(request, sequence.tokens)
            if request.deadline is not None:
                heapq.heappush(self._deadlines, (request.deadline, next(self._arrivals), entry))
            self._changed.notify()

        def on_done(_: Future[Summary]) -> None:
            # A cancelled request stops counting at once; its sequences leave the queue when their turn comes.
            entry.clear()
            with self._changed:
                self._count_waiting(request, -request.waiting_tokens)

        request.future.add_done_callback(on_done)

    def check_admission(self) -> None:
        """Raises EngineFull if more than `max_waiting_tokens` tokens wait."""
        if self._waiting_tokens > self.max_waiting_tokens:
            raise EngineFull(self._throughput.seconds_for(self._waiting_tokens))

    def stats(self, cache_bytes: int) -> Stats:
        """A snapshot; from any thread."""
        with self._changed:
            return Stats(
                rows=self.batch.kv_cache.rows,
                running_rows=self.batch.running_rows,
                waiting_requests=len({id(request) for request, item in self._waiting if not item.is_cancelled()}),
                waiting_tokens=self._waiting_tokens,
                max_waiting_tokens=self.max_waiting_tokens,
                tokens_per_second=self._throughput.tokens_per_second,
                cache_bytes=cache_bytes,
            )

    def stop(self) -> None:
        """Ends the thread after its current step; requests that are not finished raise EngineClosed."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _count_waiting(self, request: Request, tokens: int) -> None:
        request.waiting_tokens += tokens
        self._waiting_tokens += tokens

    def _run(self) -> None:
        while self._wait_for_work():
            start = time.perf_counter()
            self._expire_deadlines()
            tokens = self._admit()
            if not self._prefills_before_step():
                self._step()
            self._throughput.add(tokens, time.perf_counter() - start)
        with self._changed:
            unfinished = [request for request, _ in self._waiting] + [*self._running.values()]
        for request in unfinished:
            request.set_exception(EngineClosed("The engine was closed."))

    def _wait_for_work(self) -> bool:
        """Blocks until there is work; returns false when the engine is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._running or self._closed)
            return not self._closed

    def _expire_deadlines(self) -> None:
        now = time.monotonic()
        while self._deadlines and (self._deadlines[0][0] <= now or not self._deadlines[0][2]):
            with self._changed:
                _, _, entry = heapq.heappop(self._deadlines)
            for request in [*entry]:
                request.set_exception(DeadlineExceeded("The summary was not ready in time."))

    def _admit(self) -> int:
        """Moves sequences from the queue to the batch; returns how many tokens they have."""
        admitted = self._dequeue()
        failed = self.batch.admit([*admitted])
        for sequence, request in admitted.items():
            if sequence in failed:
                request.set_exception(EngineError(f"This text could not be encoded: {failed[sequence]}"))
            else:
                self._running[sequence] = request
                request.started_at = min(request.started_at, time.monotonic())
        return sum(sequence.tokens for sequence in admitted)

    def _dequeue(self) -> dict[Sequence, Request]:
        """Takes sequences from the queue, oldest first, while they may join the batch."""
        admitted: dict[Sequence, Request] = {}
        with self._changed:
            if not self._waiting:
                return admitted
            batch = self._batch_state()
            while self._waiting:
                request, sequence = self._waiting[0]
                if not sequence.is_cancelled():
                    candidate = _candidate(request, sequence)
                    if not may_join(candidate, batch):
                        break
                    batch = batch.admit(candidate)
                    admitted[sequence] = request
                    self._count_waiting(request, -candidate.tokens)
                self._waiting.popleft()
        return admitted

    def _prefills_before_step(self) -> bool:
        """Whether more texts are prefilled before the next step.

        That is so if all requests are offline ones: their callers gain nothing from early tokens, and steps of few rows
        are inefficient.
        """
        with self._changed:
            if not self._waiting:
                return False
            request, sequence = self._waiting[0]
            if not all(item.offline for item in (request, *self._running.values())):
                return False
            return sequence.is_cancelled() or may_join(_candidate(request, sequence), self._batch_state())

    def _batch_state(self) -> BatchState:
        cache = self.batch.kv_cache
        return BatchState(
            free_rows=cache.free_rows,
            running_rows=self.batch.running_rows,
            rankings=self.batch.rankings,
            efficient_rows=cache.efficient_rows,
            max_prefill_tokens=cache.max_prefill_tokens,
            oldest_start=min((request.started_at for request in self._running.values()), default=math.inf),
        )

    def _step(self) -> None:
        try:
            done = self.batch.step()
        except Exception as error:
            for sequence in self.batch.clear():
                self._running.pop(sequence).set_exception(EngineError(f"The decode step of this text failed: {error}"))
            return
        for sequence in done:
            request = self._running.pop(sequence)
            if sequence.finish_reason:
                self._advance(request)
        if not self._waiting:
            self.batch.compact_if_sparse()

    def _advance(self, request: Request) -> None:
        """Queues the next stage of `request` first, because its caller has waited longest, or sets its result."""
        try:
            sequences = request.advance()
        except Exception as error:
            request.set_exception(EngineError(f"This text failed: {error}"))
            return
        with self._changed:
            if request.future.done():  # its tokens have been subtracted already and may not be counted again
                return
            for sequence in reversed(sequences):
                self._waiting.appendleft((request, sequence))
                self._count_waiting(request, sequence.tokens)


def _candidate(request: Request, sequence: Sequence) -> Candidate:
    return Candidate(sequence.rows, sequence.tokens, request.submitted_at)
