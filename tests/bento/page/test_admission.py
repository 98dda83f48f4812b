"""The admission queue: order, share and bound."""

import asyncio

import pytest

from bento.page.admission import AdmissionQueue, AdmissionQueueFull


def test_queue_admits_in_order_and_within_its_share():
    async def scenario():
        queue = AdmissionQueue(rows=8, max_waiting=2)
        first, second = queue.enqueue(5), queue.enqueue(3)
        third, fourth = queue.enqueue(8), queue.enqueue(1)
        assert [ticket.admitted.is_set() for ticket in (first, second, third, fourth)] == [True, True, False, False]
        assert (queue.ahead_of(third), queue.ahead_of(fourth)) == (0, 1)
        with pytest.raises(AdmissionQueueFull):
            queue.enqueue(1)
        queue.release(first)
        assert not third.admitted.is_set()
        assert not fourth.admitted.is_set(), "a small text does not overtake a large one"
        queue.release(third)
        queue.release(third)
        assert fourth.admitted.is_set()
        queue.release(second)
        queue.release(fourth)
        assert queue.enqueue(8).admitted.is_set()

    asyncio.run(scenario())
