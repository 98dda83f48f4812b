"""Deadlines: the earliest first, and finished requests are not kept."""

import time
from concurrent.futures import Future
from types import SimpleNamespace

from precis.scheduling.deadlines import Deadlines


def request(seconds: float | None):
    return SimpleNamespace(deadline=None if seconds is None else time.monotonic() + seconds, future=Future())


def test_expired_requests_are_returned_once_the_earliest_first():
    deadlines = Deadlines()
    late, early, future, never = request(-1), request(-2), request(60), request(None)
    for item in (late, early, future, never):
        deadlines.add(item)
    assert deadlines.pop_expired() == [early, late]
    assert deadlines.pop_expired() == []
    assert len(deadlines) == 1


def test_finished_requests_leave_the_heap():
    deadlines = Deadlines()
    items = [request(60) for _ in range(3)]
    for item in items:
        deadlines.add(item)
        item.future.set_result(None)
    assert deadlines.pop_expired() == []
    assert len(deadlines) == 0
