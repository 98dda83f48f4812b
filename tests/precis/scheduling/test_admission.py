"""The admission policy, in numbers."""

import math

import pytest

from precis.scheduling.admission import Backlog, Newcomer, seconds_until_admitted

QUEUE = 1000  # tokens


@pytest.mark.parametrize(
    ("newcomer", "everyone", "caller", "expected"),
    [
        # An empty or half full queue.
        (Newcomer(1, 60), Backlog(), None, None),
        (Newcomer(1, 60), Backlog(500, 10), Backlog(500, 10), None),
        (Newcomer(59, 60), Backlog(), Backlog(), None),
        # The queue is full: as long as the work above the limit takes.
        (Newcomer(1, 60), Backlog(1000, 20), None, None),
        (Newcomer(1, 60), Backlog(2000, 20), None, 10),
        (Newcomer(1, math.inf), Backlog(1001, 20), None, 1),
        # The caller has half of it, and others have not.
        (Newcomer(1, 60), Backlog(600, 12), Backlog(600, 12), 2),
        (Newcomer(1, 60), Backlog(900, 12), Backlog(300, 4), None),
        # It would not be finished in time after the others.
        (Newcomer(10, 60), Backlog(100, 55), None, 5),
        (Newcomer(10, 60), Backlog(100, 50), None, None),
        (Newcomer(10, 60), Backlog(100, 25), Backlog(100, 25), 5),
        (Newcomer(10, 60), Backlog(100, 500), None, 60),  # never beyond its own limit
        (Newcomer(50, 60), Backlog(100, 20), None, 10),
        # Alone it takes more than the caller's share, but the caller has nothing else.
        (Newcomer(50, 60), Backlog(), Backlog(), None),
        # A short limit of the caller's own ends it in time.
        (Newcomer(10, 0.1), Backlog(100, 50), Backlog(100, 50), None),
    ],
)
def test_newcomer_is_admitted_or_told_when_to_come_back(newcomer, everyone, caller, expected):
    assert seconds_until_admitted(newcomer, everyone, caller, QUEUE) == expected


def test_work_that_fits_no_time_limit_is_impossible():
    assert Newcomer(89, 60).is_possible
    assert not Newcomer(91, 60).is_possible
    assert Newcomer(91, math.inf).is_possible
    assert Newcomer(91, 1).is_possible, "a short limit costs little and is kept by the deadline"
