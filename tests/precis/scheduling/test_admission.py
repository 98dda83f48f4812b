"""The admission policy, in numbers."""

import math

import pytest

from precis.scheduling.admission import Admission, CallerLoad, Newcomer

QUEUE = 1000  # tokens
NOTHING = CallerLoad()


def load(seconds: float, tokens: int = 0, ahead: float | None = None, weight: float = 1.0) -> CallerLoad:
    return CallerLoad(weight, seconds, tokens, seconds if ahead is None else ahead)


@pytest.mark.parametrize(
    ("newcomer", "own", "others", "expected"),
    [
        (Newcomer(1, 60), NOTHING, [], 1),
        (Newcomer(1, 60), load(10), [], 11),
        # Another caller takes as much as the newcomer while it lasts, and has less.
        (Newcomer(1, 60), NOTHING, [load(500)], 2),
        (Newcomer(10, 60), NOTHING, [load(500), load(3)], 23),
        (Newcomer(10, 60), load(5), [load(500)], 30),
        (Newcomer(10, 60), load(5), [load(500, weight=2)], 45),
        # A long text of its own takes turns with it.
        (Newcomer(1, 60), load(300, ahead=2), [], 3),
    ],
)
def test_time_is_that_of_the_callers_share(newcomer, own, others, expected):
    assert Admission(own, others, QUEUE).seconds_until_done(newcomer) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("newcomer", "own", "others", "expected"),
    [
        # An empty or half full queue, and another's long backlog.
        (Newcomer(1, 60), NOTHING, [], None),
        (Newcomer(1, 60), load(10, 500), [], None),
        (Newcomer(59, 60), NOTHING, [], None),
        (Newcomer(25, 60), NOTHING, [load(1000, 400)], None),
        # A caller may have as many tokens as it leaves: half of the queue, or a third.
        (Newcomer(1, 60), load(12, 600), [], 2),
        (Newcomer(1, 60), load(12, 300), [load(12, 300)], None),
        (Newcomer(1, 60), NOTHING, [load(10, 500), load(10, 500)], None),
        (Newcomer(1, math.inf), load(10, 500), [load(10, 250)], 4),  # 0.8 of it is left in both after 2 s each
        # It would not be finished in time after its caller's other requests: in 51 of 60 s, as is planned.
        (Newcomer(10, 60), load(55), [], 14),
        (Newcomer(10, 60), load(41), [], None),
        (Newcomer(10, 60), load(500), [], 60),  # never beyond its own limit
        # Half of the engine is another's, until that one has no more than it can have in the time that is left.
        (Newcomer(40, 60), NOTHING, [load(30)], 19),
        # Alone it takes too long, but an estimate may be a little too high.
        (Newcomer(70, 60), NOTHING, [], None),
        (Newcomer(70, 60), NOTHING, [load(5)], 5),
        # A short limit of the caller's own ends it in time.
        (Newcomer(10, 0.1), load(50), [], None),
    ],
)
def test_newcomer_is_admitted_or_refused_with_the_time_to_come_back(newcomer, own, others, expected):
    retry_after = Admission(own, others, QUEUE).retry_after(newcomer)
    assert retry_after == (None if expected is None else pytest.approx(expected, abs=0.01))


def test_callers_that_are_not_told_apart_share_the_whole_queue():
    assert Admission(load(10, 1000), [], QUEUE, shares=False).retry_after(Newcomer(1, 60)) is None
    assert Admission(load(20, 2000), [], QUEUE, shares=False).retry_after(Newcomer(1, 60)) == pytest.approx(
        10, abs=0.01
    )


@pytest.mark.parametrize("seed", range(20))
def test_who_waits_as_long_as_told_is_admitted(seed):
    """The queue is drained second by second, each caller by its weight, as the scheduler does."""
    import random

    draw = random.Random(seed)
    loads = [load(draw.uniform(0, 60), draw.randint(0, 400), weight=draw.choice([1, 1, 2, 5])) for _ in range(4)]
    newcomer = Newcomer(draw.uniform(0, 20), 60)
    wait = Admission(loads[0], loads[1:], QUEUE).retry_after(newcomer)
    seconds = [item.seconds for item in loads]
    ticks = round(100 * (wait or 0)) + 10
    for _ in range(ticks):
        busy = [index for index, left in enumerate(seconds) if left > 0]
        total = sum(loads[index].weight for index in busy)
        for index in busy:
            seconds[index] = max(0.0, seconds[index] - 0.01 * loads[index].weight / total)
    later = [
        load(left, round(item.tokens * left / item.seconds), weight=item.weight)
        for item, left in zip(loads, seconds, strict=True)
    ]
    if wait is None or wait < 60:
        assert Admission(later[0], later[1:], QUEUE).retry_after(newcomer) is None


def test_work_that_fits_no_time_limit_is_impossible():
    assert Newcomer(89, 60).is_possible
    assert not Newcomer(91, 60).is_possible
    assert Newcomer(91, math.inf).is_possible
    assert Newcomer(91, 1).is_possible, "a short limit costs little and is kept by the deadline"
