"""Times to come back that are kept: refused requests are expected, and nobody of their caller takes their place."""

import threading
import time

from precis.errors import EngineFull
from precis.scheduling import expected_returns
from precis.scheduling.expected_returns import EARLY_SECONDS, LATE_SECONDS, ExpectedReturns
from precis.scheduling.ranking import RankingTurn
from precis.scheduling.scheduler import Scheduler
from precis.scheduling.work import Work
from tests.precis.scheduling.test_fairness import Request
from tests.support.batches import CountingBatch


class DecodingBatch(CountingBatch):
    """All of a step's time is decoding, so that its rate is measured."""

    def step(self):
        left = super().step()
        self.last_ranking = RankingTurn({}, 0.0)
        return left


def test_due_requests_are_taken_once_the_earliest_first():
    returns = ExpectedReturns()
    for at in (30.0, 10.0, 20.0):
        returns.add("a", at, Work(1.0, at), 5, now=0.0)
    assert returns.of("a") == (Work(3.0, 60.0), 15)
    assert not returns.take("a", 10 - 2 * EARLY_SECONDS)
    assert not returns.take("b", 100.0)
    assert returns.take("a", 10.0)
    assert not returns.take("a", 10.0)
    assert returns.of("a") == (Work(2.0, 50.0), 10)
    assert returns.take("a", 30.0)
    assert returns.of("a") == (Work(), 0), "that of 20 did not come in time"


def test_who_does_not_come_back_is_forgotten():
    returns = ExpectedReturns()
    returns.add("a", 10.0, Work(1.0), 5, now=0.0)
    returns.add("b", 12.0, Work(1.0), 5, now=10.0 + 1.1 * LATE_SECONDS)
    assert returns.of("a") == (Work(), 0)
    assert returns.of("b") == (Work(1.0), 5)
    returns.discard("b")
    assert returns.of("b") == (Work(), 0)


def test_no_more_are_expected_than_are_bounded(monkeypatch):
    monkeypatch.setattr(expected_returns, "MAX_RETURNS", 3)
    returns = ExpectedReturns()
    for number in range(5):
        returns.add(str(number % 2), 10.0, Work(1.0), 5, now=0.0)
    assert returns.of("0")[1] + returns.of("1")[1] == 15
    returns.discard("0")
    returns.add("2", 10.0, Work(1.0), 5, now=0.0)
    assert returns.of("2")[1] == 5


def test_most_of_a_crowd_are_admitted_when_they_come_back():
    """300 clients of one caller, where 100 may wait; who has an answer sends a further request at once."""
    batch = DecodingBatch(rows=16, step_seconds=0.01)
    scheduler = Scheduler(batch, max_waiting_tokens=20_000)
    scheduler._backlog.costs.decode.add(10_000, 10.0)
    scheduler._backlog.costs.prefill.add(10**6, 10.0)
    came_back: list[bool] = []  # whether they were admitted
    end = time.monotonic() + 6

    def client() -> None:
        was_refused = False
        while time.monotonic() < end:
            request = Request("a", new=16, timeout=60)
            try:
                scheduler.submit(request, bounded=True)
            except EngineFull as error:
                came_back.extend([False] * was_refused)
                was_refused = True
                time.sleep(error.retry_after)
                continue
            came_back.extend([True] * was_refused)
            was_refused = False
            request.future.result(60)

    clients = [threading.Thread(target=client) for _ in range(300)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    scheduler.stop()
    scheduler.thread.join()
    assert len(came_back) > 100
    assert sum(came_back) > 0.3 * len(came_back), "0.7 on an idle machine, and 0.04 if they are not expected"
