"""The admission queue: turns, shares and bounds."""

import asyncio

import pytest

from bento.page.admission import AdmissionQueue, AdmissionQueueFull


def admitted(*tickets):
    return [ticket.admitted.is_set() for ticket in tickets]


def run(scenario):
    async def in_loop():
        scenario()

    asyncio.run(in_loop())


def test_one_visitors_texts_are_admitted_in_order_and_within_the_share():
    def scenario():
        queue = AdmissionQueue(rows=8, max_waiting=2)
        first, second = queue.enqueue(5), queue.enqueue(3)
        third, fourth = queue.enqueue(8), queue.enqueue(1)
        assert admitted(first, second, third, fourth) == [True, True, False, False]
        assert (queue.ahead_of(third), queue.ahead_of(fourth)) == (0, 1)
        with pytest.raises(AdmissionQueueFull):
            queue.enqueue(1)
        queue.release(first)
        assert admitted(third, fourth) == [False, False], "a small text does not overtake a large one"
        queue.release(third)
        queue.release(third)
        assert fourth.admitted.is_set()
        queue.release(second)
        queue.release(fourth)
        assert queue.enqueue(8).admitted.is_set()

    run(scenario)


def test_visitors_take_turns():
    def scenario():
        queue = AdmissionQueue(rows=1)
        running = queue.enqueue(1, "many")
        many = [queue.enqueue(1, "many") for _ in range(20)]
        other, third = queue.enqueue(1, "other"), queue.enqueue(1, "third")
        second_of_other = queue.enqueue(1, "other")
        order = []
        expected = [many[0], other, third, many[1], second_of_other, *many[2:]]
        assert [queue.ahead_of(ticket) for ticket in expected] == list(range(len(expected)))
        while len(order) < len(expected):
            queue.release(running)
            running = next(ticket for ticket in expected if ticket.admitted.is_set() and ticket not in order)
            order.append(running)
        assert order == expected

    run(scenario)


def test_one_visitor_leaves_places_to_others():
    def scenario():
        queue = AdmissionQueue(rows=1, max_waiting=6, max_waiting_per_visitor=4)
        queue.enqueue(1, "many")
        for _ in range(4):
            queue.enqueue(1, "many")
        with pytest.raises(AdmissionQueueFull, match="your texts"):
            queue.enqueue(1, "many")
        queue.enqueue(1, "other")
        queue.enqueue(1, "third")
        with pytest.raises(AdmissionQueueFull, match="Too many visitors"):
            queue.enqueue(1, "fourth")

    run(scenario)


def test_long_texts_run_one_at_a_time_beside_short_ones():
    def scenario():
        queue = AdmissionQueue(rows=8)
        long = queue.enqueue(1, "long", is_long=True)
        assert long.rows == 5
        own, others = queue.enqueue(1, "long", is_long=True), queue.enqueue(1, "other", is_long=True)
        short, many_beams = queue.enqueue(1, "short"), queue.enqueue(4, "beams")
        late = queue.enqueue(1, "late")
        assert admitted(long, own, others, short, many_beams, late) == [True, False, False, True, False, False]
        queue.release(long)
        assert admitted(own, others, many_beams) == [True, False, False], "the first in turn"
        queue.release(own)
        assert admitted(others, many_beams) == [True, False]
        queue.release(others)
        assert admitted(many_beams, late) == [True, True]
        for ticket in (short, many_beams, late):
            queue.release(ticket)
        assert queue.free_rows == 8

    run(scenario)


def test_given_up_place_lets_the_next_one_move_up():
    def scenario():
        queue = AdmissionQueue(rows=1)
        running, leaves, stays = (queue.enqueue(1, visitor) for visitor in "abc")
        assert queue.ahead_of(stays) == 1
        queue.release(leaves)
        assert queue.ahead_of(stays) == 0
        queue.release(running)
        assert stays.admitted.is_set()

    run(scenario)
