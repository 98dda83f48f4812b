"""The scheduler between callers, with a batch that only counts steps and has a clock of its own."""

import contextlib
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait

import pytest

from precis.errors import EngineFull
from precis.params import GenerationParams, resolve
from precis.scheduling.scheduler import Scheduler
from precis.scheduling.sequence import Sequence
from tests.support.batches import CountingBatch
from tests.support.engines import wait_until

CONFIG = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}


class Request:
    """As much of precis.request.Request as the scheduler uses: some sequences of equal length, in one stage.

    `steps` is how many steps the batch ran between its submission and its end.
    """

    def __init__(self, batch, caller, count=1, tokens=100, new=8, sentences=0, weight=1.0, timeout=None):
        self.batch, self.steps = batch, 0
        self.caller, self.weight, self.future = caller, weight, Future()
        self.submitted_at = time.monotonic()
        self.deadline = None if timeout is None else self.submitted_at + timeout
        self.started_at, self.offline, self.estimated_seconds = float("inf"), False, None
        mode = "extract" if sentences else "write"
        params = resolve(GenerationParams(max_new_tokens=new, min_new_tokens=new, mode=mode), CONFIG)
        scored = [[2] * 29 + [1]] * sentences
        self.sequences = [
            Sequence([3] * tokens, params, self.future.done, sentences=list(scored)) for _ in range(count)
        ]

    def start(self):
        self.steps = -self.batch.steps
        return self.sequences

    def advance(self):
        if all(sequence.finish_reason for sequence in self.sequences):
            self.steps += self.batch.steps
            with contextlib.suppress(Exception):
                self.future.set_result(self)
        return []

    def set_exception(self, error):
        with contextlib.suppress(Exception):
            self.future.set_exception(error)


@pytest.fixture
def batch(monkeypatch) -> CountingBatch:
    batch = CountingBatch()
    monkeypatch.setattr(time, "monotonic", lambda: batch.now)
    monkeypatch.setattr(time, "perf_counter", lambda: batch.now)
    return batch


@pytest.fixture
def scheduler(batch) -> Iterator[Scheduler]:
    with running(Scheduler(batch)) as scheduler:
        yield scheduler


@contextlib.contextmanager
def running(scheduler: Scheduler) -> Iterator[Scheduler]:
    try:
        yield scheduler
    finally:
        scheduler.stop()
        scheduler.batch.hold_at(math.inf)
        scheduler.thread.join()


def submit(scheduler: Scheduler, *args, bounded: bool = True, **kwargs) -> Request:
    request = Request(scheduler.batch, *args, **kwargs)
    scheduler.submit(request, bounded=bounded)
    return request


def steps_until_done(scheduler: Scheduler, *args, **kwargs) -> int:
    request = submit(scheduler, *args, **kwargs)
    request.future.result(60)
    return request.steps


def run_until_step(batch: CountingBatch, step: int) -> None:
    """Runs that many steps in all, and then no more; what was submitted before has joined, or waits."""
    batch.hold_at(step)
    batch.wait_for_step(step)


@pytest.mark.parametrize("heavy", [{"count": 10_000}, {"count": 10_000, "sentences": 6}], ids=["chunks", "rankings"])
@pytest.mark.parametrize("light", [{}, {"sentences": 6}], ids=["write", "extract"])
def test_ten_thousand_chunks_delay_a_short_text_by_at_most_a_batch(scheduler, batch, heavy, light):
    """A batch's worth of work is 8 steps here, as long as its sequences run."""
    long = submit(scheduler, "heavy", **heavy)
    run_until_step(batch, 30)
    batch.hold_at(math.inf)
    for _ in range(5):
        own = 6 if light else 8
        # What began before it ends, one step is under way already, and what comes after may have the machine in turn.
        assert steps_until_done(scheduler, "light", **light) <= 8 + own + 2
    assert not long.future.done()
    long.future.cancel()


def test_many_requests_of_one_caller_do_not_delay_another(scheduler, batch):
    batch.hold_at(0)
    many = [submit(scheduler, "heavy") for _ in range(400)]
    run_until_step(batch, 10)
    light, done = submit(scheduler, "light"), []
    light.future.add_done_callback(lambda _: done.extend(request for request in many if request.future.done()))
    batch.hold_at(math.inf)
    light.future.result(60)
    assert light.steps <= 8 + 8 + 2
    assert len(done) < 200
    for request in many:
        request.future.cancel()


def test_a_caller_alone_fills_all_rows(scheduler, batch):
    long = submit(scheduler, "heavy", count=200, tokens=10)
    run_until_step(batch, 4)
    assert scheduler.stats(0).running_rows == 32
    long.future.cancel()


def test_weights_divide_the_engine(scheduler, batch):
    batch.hold_at(0)
    requests = [submit(scheduler, name, count=2000, weight=weight) for name, weight in (("a", 1.0), ("b", 3.0))]
    run_until_step(batch, 600)
    done = [sum(bool(sequence.finish_reason) for sequence in request.sequences) for request in requests]
    assert done[0] > 0
    assert 1.8 < done[1] / done[0] < 4.5
    for request in requests:
        request.future.cancel()


def test_lists_take_turns(scheduler, batch):
    batch.hold_at(0)
    first = [submit(scheduler, "list 0", bounded=False) for _ in range(300)]
    run_until_step(batch, 10)
    second, done = [submit(scheduler, "list 1", bounded=False) for _ in range(20)], []
    for request in second:
        request.future.add_done_callback(lambda _: done.append(sum(request.future.done() for request in first)))
    batch.hold_at(math.inf)
    wait([request.future for request in second], 60)
    assert max(done) < 200
    for request in first:
        request.future.cancel()


def test_a_list_after_another_has_all_rows(scheduler, batch):
    wait([submit(scheduler, "list 0", bounded=False).future], 60)
    batch.hold_at(batch.steps)
    second = [submit(scheduler, "list 1", tokens=10, bounded=False) for _ in range(200)]
    run_until_step(batch, batch.steps + 3)
    assert scheduler.stats(0).running_rows == 32
    for request in second:
        request.future.cancel()


def test_light_caller_is_admitted_while_a_heavy_ones_backlog_exceeds_the_time_limit(batch):
    with running(Scheduler(batch, max_waiting_tokens=10_000)) as scheduler:
        scheduler._backlog.costs.decode.add(1000, 100.0)  # ten rows and steps a second
        heavy = [submit(scheduler, "heavy", count=100, timeout=600)]  # 80 s
        with pytest.raises(EngineFull) as refusal:
            submit(scheduler, "heavy", count=100, timeout=60)
        assert 1 <= refusal.value.retry_after <= 60
        light = submit(scheduler, "light", timeout=60)
        assert light.estimated_seconds < 10
        assert light.future.result(60)
        with contextlib.suppress(EngineFull):
            for _ in range(1000):
                heavy.append(submit(scheduler, "heavy", timeout=60))
        scheduler.check_admission("light")


def test_rankings_count_as_running(scheduler, batch):
    ranking = submit(scheduler, "a", sentences=1000)
    run_until_step(batch, 2)
    assert scheduler.stats(0).running_rows == 1
    ranking.future.cancel()


def test_nothing_is_left_behind(scheduler, batch):
    requests = [submit(scheduler, name, count=count) for name in "abc" for count in (1, 5)]
    requests[0].future.cancel()
    requests[3].future.cancel()
    backlog = scheduler._backlog
    wait_until(lambda: not (scheduler.stats(0).running_rows or scheduler._queue or backlog.requests))
    assert [request.future.cancelled() for request in requests] == [True, False, False, True, False, False]
    assert (backlog.waiting_tokens, backlog._counted_tokens, backlog._callers) == (0, 0, {})
    assert all((caller.requests, caller.rows, caller.rankings) == (0, 0, 0) for caller in scheduler._queue.callers)


def test_many_threads_submit_and_cancel(scheduler):
    def work(name: str) -> None:
        for number in range(30):
            request = submit(scheduler, name, count=1 + number % 3, new=1 + number % 4)
            if number % 5 == 0:
                request.future.cancel()
            else:
                request.future.result(60)

    threads = [threading.Thread(target=work, args=(f"caller {number % 4}",)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert not any(thread.is_alive() for thread in threads)
    assert not scheduler.failed
