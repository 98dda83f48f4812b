"""The order of callers, with a clock of its own."""

import pytest

from precis.scheduling.fair_queue import FIRST_SECONDS, MEMORY_SECONDS, SHARE_HALF_LIFE, FairQueue


def serve(queue: FairQueue, count: int, seconds: float = 1.0, now: float = 0.0) -> list[str]:
    """The next `count` items, each of which takes `seconds`."""
    items = []
    for _ in range(count):
        caller, _, item = next(queue.in_turn())
        caller.pop()
        queue.charge(caller, seconds, now)
        items.append(item)
    return items


def enter(queue: FairQueue, name: str, count: int, weight: float = 1.0, now: float = 0.0):
    """A request of `count` items."""
    caller = queue.enter(name, weight, now)
    caller.add(name, [f"{name}{number}" for number in range(count)])
    return caller


def test_callers_are_served_in_turn_and_a_backlog_delays_nobody():
    queue = FairQueue()
    enter(queue, "heavy", 10_000)
    serve(queue, 100)
    enter(queue, "light", 2)
    assert serve(queue, 4) == ["light0", "heavy100", "heavy101", "light1"]


def test_service_is_proportional_to_weight():
    queue = FairQueue()
    enter(queue, "a", 100)
    enter(queue, "b", 100, weight=3.0)
    served = serve(queue, 80, 0.1)
    assert sum(item.startswith("b") for item in served) == pytest.approx(60, abs=5 * FIRST_SECONDS / 0.1)


def test_expensive_items_count_more():
    queue = FairQueue()
    callers = enter(queue, "a", 1000), enter(queue, "b", 1000)
    for _ in range(200):
        caller, _, item = next(queue.in_turn())
        caller.pop()
        queue.charge(caller, 3.0 if item.startswith("a") else 1.0, 0.0)
    assert callers[0].served == pytest.approx(callers[1].served, abs=3.0 + FIRST_SECONDS)


def test_a_callers_requests_take_turns_and_the_next_stage_goes_first():
    queue = FairQueue()
    caller = queue.enter("a", 1.0, 0.0)
    caller.add("long", ["l0", "l1", "l2"])
    caller.add("short", ["s0"])
    assert serve(queue, 1) == ["l0"]
    caller.add("stage", ["t0"], first=True)
    assert serve(queue, 4) == ["t0", "s0", "l1", "l2"]
    assert not queue


def test_idle_callers_save_nothing_up_and_keep_their_debts():
    queue = FairQueue()
    heavy = enter(queue, "heavy", 1000)
    light = enter(queue, "light", 1)
    serve(queue, 51)
    queue.leave(light, 0.0)
    serve(queue, 300)
    assert enter(queue, "light", 1) is light
    assert light.served == heavy.served, "not the 50 that it had"
    heavy_before = heavy.served
    queue.charge(light, 20.0, 0.0)
    queue.leave(light, 0.0)
    enter(queue, "light", 1)
    assert light.served == heavy_before + 20, "its debt stays"


def test_a_stream_of_new_callers_does_not_starve_an_old_one():
    queue = FairQueue()
    enter(queue, "heavy", 10)
    serve(queue, 2)
    served, previous = [], enter(queue, "first", 1)
    for number in range(1000):  # one leaves when the next has come, so that there is always one before the old caller
        following = enter(queue, f"new {number} ", 1)
        served += serve(queue, 1)
        queue.leave(previous, 0.0)
        previous = following
    assert "heavy9" in served


def test_debts_end_when_nobody_waits():
    queue = FairQueue()
    first = enter(queue, "a", 1)
    serve(queue, 1, 100.0)
    queue.leave(first, 0.0)
    enter(queue, "b", 5)
    enter(queue, "a", 1)
    assert "a0" in serve(queue, 3)


def test_absent_callers_are_forgotten():
    queue = FairQueue()
    queue.leave(enter(queue, "a", 0), 5.0)
    enter(queue, "b", 0, now=5.0 + MEMORY_SECONDS)
    assert queue.is_shared(5.0 + MEMORY_SECONDS)
    assert not queue.is_shared(6.0 + MEMORY_SECONDS)
    enter(queue, "b", 0, now=6.0 + MEMORY_SECONDS)
    assert len([*queue.callers]) == 1


def test_cancelled_items_are_dropped():
    cancelled = {"a0", "b0"}
    queue = FairQueue(cancelled.__contains__)
    enter(queue, "a", 2)
    enter(queue, "b", 1)
    assert queue.waiting_requests == 1
    assert [item for *_, item in queue.in_turn()] == ["a1"]


def test_a_heavy_caller_is_ahead_of_one_that_runs_and_was_served_less():
    queue = FairQueue()
    heavy, light = enter(queue, "heavy", 9), enter(queue, "light", 9)
    now = 10 * SHARE_HALF_LIFE
    for step in range(1000):  # 80% and 10% of the time
        queue.charge(heavy, 0.8 * now / 1000, now * step / 1000)
        queue.charge(light, 0.1 * now / 1000, now * step / 1000)
    assert heavy.share(now) == pytest.approx(0.8, rel=0.02)
    assert queue.heavy(now) == {heavy}
    assert queue.heavy(now + SHARE_HALF_LIFE) == set(), "it has paused"
    assert not queue.is_ahead(heavy), "the other one runs nothing"
    light.rankings = 1
    assert queue.is_ahead(heavy)
    assert not queue.is_ahead(heavy, of_rows=True)
    light.rows = 1
    assert queue.is_ahead(heavy, of_rows=True)
    assert not queue.is_ahead(light)


def test_a_caller_whose_item_was_popped_has_another_turn():
    queue = FairQueue()
    for name in "ab":
        enter(queue, name, 3)
    served = []
    for caller, _, item in queue.in_turn():
        if item != "b1":  # nobody takes that one
            caller.pop()
            queue.charge(caller, 1.0, 0.0)
            served.append(item)
    assert served == ["a0", "b0", "a1", "a2"]


def test_two_heavy_callers_each_have_a_third():
    queue = FairQueue()
    callers = [enter(queue, name, 9) for name in ("a", "b", "light")]
    now = 10 * SHARE_HALF_LIFE
    for step in range(1000):
        for caller, share in zip(callers, (0.42, 0.43, 0.1), strict=True):
            queue.charge(caller, share * now / 1000, now * step / 1000)
    assert queue.heavy(now) == {*callers[:2]}
