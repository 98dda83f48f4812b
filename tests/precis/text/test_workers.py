"""Work on long texts: off the event loop, one at a time, and no longer than until the deadline."""

import asyncio
import threading
import time

import pytest

from precis.errors import DeadlineExceeded
from precis.text.workers import LONGEST, SHORT, SHORT_ASCII, TextWorkers


@pytest.fixture
def workers():
    opened = TextWorkers()
    yield opened
    opened.close()


def run(coroutine):
    return asyncio.run(coroutine)


@pytest.mark.parametrize(
    ("text", "is_inline"),
    [("a" * SHORT_ASCII, True), ("a" * (SHORT_ASCII + 1), False), ("é" * SHORT, True), ("é" * (SHORT + 1), False)],
)
def test_only_short_texts_are_worked_on_in_the_event_loop(workers, text, is_inline):
    thread = run(workers.run(text, None, lambda _: threading.current_thread()))
    assert (thread is threading.main_thread()) == is_inline


def test_one_of_the_longest_texts_at_a_time_and_others_go_on(workers):
    running, most, order = [], [], []

    def work(name: str, seconds: float) -> None:
        running.append(name)
        most.append(len([one for one in running if one.startswith("long")]))
        time.sleep(seconds)
        running.remove(name)
        order.append(name)

    async def all_of_them() -> None:
        long = [workers.run("a" * (LONGEST + 1), None, lambda _, n=n: work(f"long{n}", 0.3)) for n in range(3)]
        await asyncio.gather(*long, workers.run("a" * LONGEST, None, lambda _: work("moderate", 0.01)))

    run(all_of_them())
    assert max(most) == 1
    assert order[0] == "moderate"


def test_callers_take_turns(workers):
    order = []

    async def both() -> None:
        text = "a" * 10_000
        many = [workers.run(text, None, lambda _: order.append("many"), "many") for _ in range(5)]
        one = [workers.run(text, None, lambda _: order.append("one"), "one") for _ in range(2)]
        block = workers.run(text, None, lambda _: time.sleep(0.2), "other")  # until all of them wait
        await asyncio.gather(block, *many, *one)

    run(both())
    assert order == ["many", "one", "many", "one", "many", "many", "many"]


def test_a_text_of_characters_that_become_many_is_one_of_the_longest(workers):
    name = run(workers.run("\ufdfa" * (LONGEST // 10), None, lambda _: threading.current_thread().name))
    assert name.startswith("precis-long-text")
    name = run(workers.run("会" * (LONGEST // 10), None, lambda _: threading.current_thread().name))
    assert name.startswith("precis-text")


def test_closing_ends_the_wait(workers):
    began = threading.Event()

    def block(_) -> None:
        began.set()
        time.sleep(0.3)

    async def close() -> None:
        first = asyncio.create_task(workers.run("a" * 10_000, None, block))
        second = asyncio.create_task(workers.run("a" * 10_000, None, block))
        await asyncio.to_thread(began.wait, 5)
        workers.close()
        await first
        with pytest.raises(asyncio.CancelledError):
            await second

    run(close())


def test_deadline_ends_the_wait_and_the_work(workers):
    ended = threading.Event()

    def work(check) -> None:
        try:
            while True:
                check()
                time.sleep(0.01)
        finally:
            ended.set()

    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        run(workers.run("a" * 10_000, began + 0.2, work))
    assert 0.15 < time.monotonic() - began < 5
    assert ended.wait(5)
    with pytest.raises(DeadlineExceeded):
        run(workers.run("a", time.monotonic() - 1, lambda _: pytest.fail("it is too late")))


def test_cancelling_ends_the_work(workers):
    began, ended = threading.Event(), threading.Event()

    def work(check) -> None:
        try:
            while True:
                began.set()
                check()
                time.sleep(0.01)
        finally:
            ended.set()

    async def cancel() -> None:
        task = asyncio.create_task(workers.run("a" * 10_000, None, work))
        await asyncio.to_thread(began.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(cancel())
    assert ended.wait(5)


def test_cancelling_counts_in_the_moment_of_the_result_too(workers):
    async def is_lost(iterations: int) -> bool:
        ended = threading.Event()
        deadline = time.monotonic() + 60
        task = asyncio.create_task(workers.run("a" * 10_000, deadline, lambda _: ended.wait()))
        await asyncio.sleep(0.05)
        ended.set()
        time.sleep(0.05)  # the thread is done, and the event loop has not seen it
        for _ in range(iterations):
            await asyncio.sleep(0)
        is_cancelled = task.cancel()  # else it has returned before
        await asyncio.wait({task})
        return is_cancelled and not task.cancelled()

    assert [run(is_lost(iterations)) for iterations in range(5)] == [False] * 5
