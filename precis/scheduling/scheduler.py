"""The queue of waiting sequences, and the thread that admits them to the running batch and steps it."""

import functools
import logging
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NoReturn

from precis.errors import DeadlineExceeded, EngineClosed, EngineError, EngineFull
from precis.request import Request, Summary
from precis.scheduling.backlog import Judgement, RequestBacklog
from precis.scheduling.deadlines import Deadlines
from precis.scheduling.fair_queue import Caller, FairQueue
from precis.scheduling.policy import BatchState, Candidate, may_join
from precis.scheduling.ranking import RankingTurn
from precis.scheduling.running_batch import RunningBatch
from precis.scheduling.sequence import Sequence
from precis.scheduling.throughput import ThroughputEstimate
from precis.scheduling.work import Work
from precis.stats import Stats

MAX_WAITING_TOKENS = 1 << 18
IDLE_SECONDS = 10.0  # after which memory is given back

log = logging.getLogger(__name__)

_Caller = Caller[Request, Sequence]


@dataclass
class _Running:
    """A sequence in the batch: its request, its caller, and when it joined (infinite while it is prefilled)."""

    request: Request
    caller: _Caller
    started_at: float = math.inf


class Scheduler:
    """Owns the queue, the deadlines and the thread; `RunningBatch` does the computing on that thread.

    It has no reference to the Engine, so that an engine nobody uses is garbage collected, which ends the thread.
    `failed` says that the thread was ended by an error: nothing is computed any more, and all requests are refused.
    """

    def __init__(self, batch: RunningBatch, max_waiting_tokens: int = MAX_WAITING_TOKENS) -> None:
        """Starts the thread. While more than `max_waiting_tokens` tokens wait, new requests are refused."""
        self.batch, self.max_waiting_tokens = batch, max_waiting_tokens
        self.failed = self._closed = False
        self._changed = threading.Condition()
        self._queue: FairQueue[Request, Sequence] = FairQueue(lambda sequence: sequence.is_cancelled())
        self._running: dict[Sequence, _Running] = {}
        self._backlog = RequestBacklog(max_waiting_tokens)
        self.costs = self._backlog.costs
        self._deadlines = Deadlines()
        self._throughput = ThroughputEstimate()
        self.thread = threading.Thread(target=self._run, name="precis-scheduler", daemon=True)
        self.thread.start()

    def submit(self, request: Request, *, bounded: bool) -> None:
        """Queues the first sequences of `request`, unless it is done; from any thread.

        Raises EngineClosed, and if `bounded` is true EngineFull or TooMuchWork. A request that is not bounded is an
        offline one: its caller waits for a list of texts, not for the first tokens of one.
        """
        judgement: Judgement | None = None
        with self._changed:
            if self._closed:
                raise EngineClosed("The engine has failed." if self.failed else "The engine is closed.")
            if request.future.done():  # its text needs no model
                return
            sequences = request.start()
            if bounded:
                judgement = self._backlog.judge(request, sequences, self.max_waiting_tokens)
                request.estimated_seconds = judgement.estimated_seconds
            if judgement is None or judgement.admits:
                request.offline = not bounded
                self._backlog.add(request, sequences)
                caller = self._queue.enter(request.caller, request.weight, time.monotonic())
                caller.add(request, sequences)
                self._deadlines.add(request)
                self._changed.notify()
        if judgement is not None and not judgement.admits:
            self._refuse(judgement)

        def on_done(_: Future[Summary]) -> None:
            # A cancelled request stops counting at once; its sequences leave the queue when their turn comes.
            with self._changed:
                self._backlog.remove(request)
                # A list that is done does not come back, and no rows are spared for it.
                self._queue.leave(caller, -math.inf if request.offline else time.monotonic())

        request.future.add_done_callback(on_done)

    def check_admission(self, caller: str | None = None, seconds_left: float = math.inf) -> None:
        """Raises EngineFull if so many tokens wait that every request of `caller` is refused; from any thread."""
        if self._backlog.is_full(caller, self.max_waiting_tokens):
            with self._changed:
                judgement = self._backlog.judge_unknown(caller, seconds_left, self.max_waiting_tokens)
            self._refuse(judgement)

    def _refuse(self, judgement: Judgement) -> NoReturn:
        seconds = judgement.retry_after()  # outside the lock: it takes some time, and under overload there are many
        with self._changed:
            self._backlog.expect_return(judgement, seconds)
        raise EngineFull(seconds)

    def check_prefill(self, tokens: int, deadline: float) -> None:
        """Raises TooMuchWork if the prefill of `tokens` alone takes longer than until `deadline`; from any thread."""
        self._backlog.check_prefill(tokens, deadline)

    def stats(self, cache_bytes: int) -> Stats:
        """A snapshot; from any thread."""
        with self._changed:
            return Stats(
                rows=self.batch.kv_cache.rows,
                running_rows=self.batch.running_rows + self.batch.rankings,
                waiting_requests=self._queue.waiting_requests,
                waiting_tokens=self._backlog.waiting_tokens,
                max_waiting_tokens=self.max_waiting_tokens,
                tokens_per_second=self._throughput.per_second,
                cache_bytes=cache_bytes,
            )

    def stop(self) -> None:
        """Ends the thread after its current step; requests that are not finished raise EngineClosed."""
        with self._changed:
            self._closed = True
            self._changed.notify()

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
        """Admits what may join the batch and runs a step, measures both, and charges the callers for them."""
        start, costs = time.perf_counter(), self.costs
        admitted = self._admit()
        admitted_at = time.perf_counter()
        if admitted:
            costs.prefill.add(sum(len(sequence.input_ids) for sequence in admitted), admitted_at - start)
        if not self._prefills_before_step():
            stepped = [*self._running.items()]
            rows = sum(sequence.rows for sequence in self._running)
            ranked = self._step()
            seconds = time.perf_counter() - admitted_at - ranked.seconds
            costs.ranking.add(sum(ranked.tokens.values()), ranked.seconds)
            if rows:
                costs.note_step(rows, self.batch.kv_cache, seconds)
            with self._changed:
                for sequence, running in stepped:
                    done = Work(0, sequence.rows, ranked.tokens.get(sequence, 0))
                    share = seconds * sequence.rows / max(1, rows) + costs.ranking.seconds_for(done.ranked_tokens)
                    self._queue.charge(running.caller, share, time.monotonic())
                    self._backlog.advance(running.request, sequence, done)
        self._throughput.add(sum(sequence.tokens for sequence in admitted), time.perf_counter() - start)

    def _wait_for_work(self) -> bool:
        """Blocks until there is work; returns false when the engine is closed."""
        with self._changed:
            while not self._changed.wait_for(lambda: self._queue or self._running or self._closed, IDLE_SECONDS):
                self.batch.release_unused_memory()
            return not self._closed

    def _expire_deadlines(self) -> None:
        with self._changed:
            expired = self._deadlines.pop_expired()
        for request in expired:
            request.set_exception(DeadlineExceeded("The summary was not ready in time."))

    def _admit(self) -> list[Sequence]:
        """Moves sequences from the queue to the batch; returns them."""
        admitted = self._dequeue()
        failed = self.batch.admit([*admitted])
        for sequence, running in admitted.items():
            if sequence in failed:
                self._remove(sequence)
                running.request.set_exception(EngineError(f"This text could not be encoded: {failed[sequence]}"))
            else:
                running.started_at = time.monotonic()
                running.request.started_at = min(running.request.started_at, running.started_at)
        return [*admitted]

    def _dequeue(self) -> dict[Sequence, _Running]:
        """Takes sequences from the queue, in turn, while they may join the batch; they count as running from now on."""
        admitted: dict[Sequence, _Running] = {}
        with self._changed:
            for caller, request, sequence in self._joining():
                caller.pop()
                self._running[sequence] = admitted[sequence] = _Running(request, caller)
                caller.rows += sequence.rows
                caller.rankings += sequence.is_ranking
                self._queue.charge(caller, self.costs.prefill.seconds_for(len(sequence.input_ids)), time.monotonic())
                self._backlog.start(request, sequence)
                sequence.priority = functools.partial(self._ranking_priority, caller)
        return admitted

    def _joining(self) -> Iterator[tuple[_Caller, Request, Sequence]]:
        """The waiting sequences that may join the batch, in turn; one that is not popped is not replaced by another."""
        if not self._queue:
            return
        batch, heavy = self._batch_state(), self._queue.heavy(time.monotonic())
        for caller, request, sequence in self._queue.in_turn():
            candidate = Candidate(
                sequence.rows,
                sequence.tokens,
                request.submitted_at,
                caller.rows,
                caller.rankings,
                is_streamed=sequence.on_tokens is not None,
                is_ahead=caller in heavy and self._queue.is_ahead(caller),
                seconds=self._backlog.seconds_left([(request, sequence)]),
            )
            if may_join(candidate, batch):
                batch = batch.admit(candidate)
                yield caller, request, sequence
            elif not batch.has_room(candidate):
                return

    def _ranking_priority(self, caller: _Caller) -> float | None:
        """A ranking waits while a caller is decoded that was served less: its turn delays every step."""
        with self._changed:
            waits = caller in self._queue.heavy(time.monotonic()) and self._queue.is_ahead(caller, of_rows=True)
            return None if waits else caller.priority

    def _prefills_before_step(self) -> bool:
        """Whether more texts are prefilled before the next step: if all are offline, and early tokens are no gain."""
        with self._changed:
            head = next(self._joining(), None)
            requests = [running.request for running in self._running.values()]
            return head is not None and all(request.offline for request in [head[1], *requests])

    def _batch_state(self) -> BatchState:
        cache = self.batch.kv_cache
        return BatchState(
            free_rows=self.batch.free_rows,
            running_rows=self.batch.running_rows,
            rankings=self.batch.rankings,
            efficient_rows=cache.efficient_rows,
            max_prefill_tokens=cache.max_prefill_tokens,
            oldest_start=min((running.started_at for running in self._running.values()), default=math.inf),
            most_rows=max((caller.rows for caller in self._queue.callers), default=0),
            is_shared=self._queue.is_shared(time.monotonic()),
            seconds=self._backlog.seconds_left((item.request, sequence) for sequence, item in self._running.items()),
        )

    def _remove(self, sequence: Sequence) -> Request:
        """A sequence left the batch; returns its request."""
        with self._changed:
            running = self._running.pop(sequence)
            running.caller.rows -= sequence.rows
            running.caller.rankings -= sequence.is_ranking
        return running.request

    def _step(self) -> RankingTurn:
        """Runs a step and finishes what is done; returns what it scored."""
        try:
            done = self.batch.step()
        except Exception as error:
            for sequence in self.batch.clear():
                self._remove(sequence).set_exception(EngineError(f"The decode step of this text failed: {error}"))
            return RankingTurn({}, 0.0)
        for sequence in done:
            caller = self._running[sequence].caller
            request = self._remove(sequence)
            if sequence.finish_reason:
                with self._changed:
                    self._backlog.finish(request, sequence)
                self._advance(caller, request)
        if not self._queue:
            self.batch.compact_if_sparse()
        return self.batch.last_ranking

    def _advance(self, caller: _Caller, request: Request) -> None:
        """Queues the next stage of `request` first, because it has waited longest, or sets its result."""
        try:
            sequences = request.advance()
        except Exception as error:
            request.set_exception(EngineError(f"This text failed: {error}"))
            return
        with self._changed:
            # The tokens of one that is done have been subtracted already and may not be counted again.
            if sequences and not request.future.done():
                self._backlog.add(request, sequences)
                caller.add(request, sequences, first=True)
