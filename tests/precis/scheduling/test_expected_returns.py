"""Times to come back that are kept: refused requests are expected, and nobody of their caller takes their place."""

import heapq
import math
import time
from collections import deque

import pytest

from precis.scheduling import expected_returns
from precis.scheduling.backlog import RequestBacklog
from precis.scheduling.expected_returns import LATE_SECONDS, ExpectedReturns
from precis.scheduling.work import Work
from tests.precis.scheduling.test_backlog import Request, sequences


def test_due_requests_are_taken_once_the_earliest_first():
    returns = ExpectedReturns()
    for at in (30.0, 10.0, 20.0):
        returns.add("a", at, Work(1.0, at), 5, now=0.0)
    assert returns.of("a") == (Work(3.0, 60.0), 15)
    assert not returns.take("a", 9.9)
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


@pytest.mark.parametrize("slots", [1, 8], ids=["one after another", "eight at once"])
def test_a_crowd_is_finished_in_time_and_admitted_when_it_comes_back(monkeypatch, slots):
    """120 clients of one caller, whose requests take a second each, two minutes long; `slots` run and end together.

    Who has an answer sends a further request at once; who is refused comes back after as many whole seconds as told.
    """
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    backlog = RequestBacklog(1 << 20)
    backlog.costs.decode.add(1000, 10.0)
    queue: deque[tuple[int, Request]] = deque()
    running: list[tuple[int, Request, int]] = []  # with the number of tokens
    came_back: list[bool] = []  # whether they were admitted
    took: list[float] = []
    send_at = [(now + 0.001 * client, client) for client in range(120)]
    refused: set[int] = set()
    while now < 1120.0:
        while send_at[0][0] <= now:
            at, client = heapq.heappop(send_at)
            request = Request(caller="a", weight=1.0, deadline=now + 60, submitted_at=at)
            request.sequences = sequences(1, tokens=1, new=100)
            judgement = backlog.judge(request, request.sequences, 1 << 20)
            if client in refused:
                came_back.append(judgement.admits)
            if judgement.admits:
                refused.discard(client)
                backlog.add(request, request.sequences)
                queue.append((client, request))
            else:
                refused.add(client)
                seconds = judgement.retry_after()
                backlog.expect_return(judgement, seconds)
                heapq.heappush(send_at, (now + math.ceil(seconds), client))
        while queue and len(running) < slots:
            client, request = queue.popleft()
            backlog.start(request, request.sequences[0])
            running.append((client, request, 0))
        now += 0.01 * len(running)
        backlog.costs.decode.add(len(running), 0.01 * len(running))
        running = [(client, request, tokens + 1) for client, request, tokens in running]
        for client, request, tokens in running:
            backlog.advance(request, request.sequences[0], Work(row_steps=1))
            if tokens == 100:
                request.sequences[0].token_ids = [5] * tokens
                backlog.finish(request, request.sequences[0])
                backlog.remove(request)
                took.append(now - request.submitted_at)
                heapq.heappush(send_at, (now, client))
        running = [item for item in running if item[2] < 100]
    assert len(took) > 80, "it is busy all the time"
    assert max(took) < 60
    assert len(came_back) > 100
    assert sum(came_back) > 0.85 * len(came_back)
