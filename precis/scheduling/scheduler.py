"""The queue of waiting sequences, and the thread that admits them to the running batch and steps it."""

import heapq
import itertools
import logging
import math
import threading
import time
from collections import deque
from concurrent.futures import Future

from precis.errors import DeadlineExceeded, EngineClosed, EngineError, EngineFull, TooMuchWork
from precis.request import Request, Summary
from precis.scheduling.admission import Backlog, Newcomer, seconds_until_admitted
from precis.scheduling.backlog import RequestBacklog
from precis.scheduling.policy import BatchState, Candidate, may_join
from precis.scheduling.running_batch import RunningBatch
from precis.scheduling.sequence import Sequence
from precis.scheduling.throughput import ThroughputEstimate
from precis.stats import Stats

MAX_WAITING_TOKENS = 1 << 18

log = logging.getLogger(__name__)


class Scheduler:
    """Owns the queue, the deadlines and the thread; `RunningBatch` does the computing on that thread.

    It has no reference to the Engine, so that an engine nobody uses is garbage collected, which ends the thread.
    `failed` says that the thread was ended by an error: nothing is computed any more, and all requests are refused.
    """

    def __init__(self, batch: RunningBatch, max_waiting_tokens: int = MAX_WAITING_TOKENS) -> None:
        """Starts the thread. While more than `max_waiting_tokens` tokens wait, new requests are refused."""
        self.batch, self.max_waiting_tokens = batch, max_waiting_tokens
        self.failed = False
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Request, Sequence]] = deque()
        self._waiting_tokens = 0
        self._running: dict[Sequence, Request] = {}  # the sequences in the batch
        self._backlog = RequestBacklog()
        # A heap of (deadline, order of arrival, request or nothing once it is done).
        self._deadlines: list[tuple[float, int, list[Request]]] = []
        self._arrivals = itertools.count()
        self._throughput = ThroughputEstimate()
        self._closed = False
        self.thread = threading.Thread(target=self._run, name="precis-scheduler", daemon=True)
        self.thread.start()

    def submit(self, request: Request, *, bounded: bool) -> None:
        """Queues the first sequences of `request`, unless it is done; from any thread.

        Raises EngineClosed, and if `bounded` is true EngineFull or TooMuchWork. A request that is not bounded is an
        offline one: its caller waits for a list of texts, not for the first tokens of one.
        """
        entry = [request]
        with self._changed:
            if self._closed:
                raise EngineClosed("The engine has failed." if self.failed else "The engine is closed.")
            if request.future.done():  # its text needs no model
                return
            sequences = request.start()
            if bounded:
                self._check_admission(request, sequences)
            request.offline = not bounded
            self._backlog.add(request)
            for sequence in self._backlog.hold_back(request, sequences, self._window(request, sequences)):
                self._waiting.append((request, sequence))
                self._count_waiting(request, sequence.tokens)
            if request.deadline is not None:
                heapq.heappush(self._deadlines, (request.deadline, next(self._arrivals), entry))
            self._changed.notify()

        def on_done(_: Future[Summary]) -> None:
            # A cancelled request stops counting at once; its sequences leave the queue when their turn comes.
            entry.clear()
            with self._changed:
                self._backlog.remove(request)
                self._count_waiting(request, -request.waiting_tokens)

        request.future.add_done_callback(on_done)

    def check_admission(self) -> None:
        """Raises EngineFull if more than `max_waiting_tokens` tokens wait, which refuses every request."""
        if self._waiting_tokens > self.max_waiting_tokens:
            with self._changed:
                everyone = Backlog(self._waiting_tokens, self._backlog.seconds())
            wait = seconds_until_admitted(Newcomer(0.0, math.inf), everyone, None, self.max_waiting_tokens)
            raise EngineFull(wait or 1.0)

    def _check_admission(self, request: Request, sequences: list[Sequence]) -> None:
        """Raises EngineFull or TooMuchWork where the admission policy refuses `request`."""
        own = self._backlog.seconds_of(sequences)
        left = math.inf if request.deadline is None else request.deadline - time.monotonic()
        newcomer = Newcomer(own, left)
        if not newcomer.is_possible:
            raise TooMuchWork(own, left)
        everyone = Backlog(self._waiting_tokens, self._backlog.seconds(own))
        caller = None
        if request.caller is not None:
            tokens, seconds = self._backlog.of_caller(request.caller, own)
            caller = Backlog(tokens, seconds)
        wait = seconds_until_admitted(newcomer, everyone, caller, self.max_waiting_tokens)
        if wait is not None:
            raise EngineFull(wait)

    def _window(self, request: Request, sequences: list[Sequence]) -> int:
        """How many sequences of a request wait or run at a time: as many as make an efficient batch.

        A long text's further chunks enter the queue at its end, one for each that is finished, so that other requests
        get their turns. Nobody else waits for an offline request's.
        """
        if request.offline:
            return len(sequences)
        return max(1, self.batch.kv_cache.efficient_rows // max(1, sequences[0].rows))

    def stats(self, cache_bytes: int) -> Stats:
        """A snapshot; from any thread."""
        with self._changed:
            return Stats(
                rows=self.batch.kv_cache.rows,
                running_rows=self.batch.running_rows,
                waiting_requests=len({id(request) for request, item in self._waiting if not item.is_cancelled()}),
                waiting_tokens=self._waiting_tokens + self._backlog.held_back_tokens,
                max_waiting_tokens=self.max_waiting_tokens,
                tokens_per_second=self._throughput.per_second,
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
        try:
            while self._wait_for_work():
                self._expire_deadlines()
                self._work()
        except BaseException:
            self.failed = True
            log.critical("The scheduler failed; the engine computes nothing any more", exc_info=True)
        with self._changed:
            self._closed = True
            unfinished = self._backlog.requests
        reason = "The engine has failed." if self.failed else "The engine was closed."
        for request in unfinished:
            request.set_exception(EngineClosed(reason))

    def _work(self) -> None:
        """Admits what may join the batch and runs a step, and measures both."""
        start = time.perf_counter()
        costs = self._backlog.costs
        admitted = self._admit()
        admitted_at = time.perf_counter()
        if admitted:
            costs.prefill.add(sum(len(sequence.input_ids) for sequence in admitted), admitted_at - start)
        if not self._prefills_before_step():
            rows = self.batch.running_rows
            self._step()
            ranked = self.batch.last_ranking
            if ranked.tokens:
                costs.ranking.add(ranked.tokens, ranked.seconds)
            if rows:  # a step of few rows takes about as long as an efficient one, so what counts is what it could do
                row_steps = max(rows, self.batch.kv_cache.efficient_rows)
                costs.decode.add(row_steps, time.perf_counter() - admitted_at - ranked.seconds)
        self._throughput.add(sum(sequence.tokens for sequence in admitted), time.perf_counter() - start)

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

    def _admit(self) -> list[Sequence]:
        """Moves sequences from the queue to the batch; returns them."""
        admitted = self._dequeue()
        failed = self.batch.admit([*admitted])
        for sequence, request in admitted.items():
            if sequence in failed:
                request.set_exception(EngineError(f"This text could not be encoded: {failed[sequence]}"))
            else:
                self._running[sequence] = request
                request.started_at = min(request.started_at, time.monotonic())
        return [*admitted]

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
            free_rows=self.batch.free_rows,
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
                self._finish(request, sequence)
                self._advance(request)
        if not self._waiting:
            self.batch.compact_if_sparse()

    def _finish(self, request: Request, sequence: Sequence) -> None:
        """Counts a finished sequence, and queues the next one that was held back."""
        with self._changed:
            following = self._backlog.finish(request, sequence)
            if following is not None:
                self._waiting.append((request, following))
                self._count_waiting(request, following.tokens)

    def _advance(self, request: Request) -> None:
        """Queues the next stage of `request` first, because its caller has waited longest, or sets its result."""
        try:
            sequences = request.advance()
        except Exception as error:
            request.set_exception(EngineError(f"This text failed: {error}"))
            return
        with self._changed:
            # The tokens of one that is done have been subtracted already and may not be counted again.
            if not sequences or request.future.done():
                return
            window = self._window(request, sequences)
            for sequence in reversed(self._backlog.hold_back(request, sequences, window)):
                self._waiting.appendleft((request, sequence))
                self._count_waiting(request, sequence.tokens)


def _candidate(request: Request, sequence: Sequence) -> Candidate:
    return Candidate(sequence.rows, sequence.tokens, request.submitted_at)
