"""Summarizing one text for the page: its states, stopping, and waiting for admission."""

import asyncio
import itertools

import pytest

from bento.page.admission import AdmissionQueue
from bento.page.summarizing import Done, Reading, Waiting, Writing, _admitted, summarize
from precis import GenerationParams
from tests.conftest import gazette

DOCUMENT = gazette("validation")[1]["document"]
LONG = " ".join(row["document"] for row in gazette("train")[:50])[:39_000]


async def collect(engine, queue, text, params):
    return [state async for state in summarize(engine, queue, text, params)]


def test_last_state_is_the_engines_summary(engine):
    params = GenerationParams(mode="write", num_beams=2)
    states = asyncio.run(collect(engine, AdmissionQueue(), DOCUMENT, params))
    assert isinstance(states[-1], Done)
    assert states[-1].summary == engine.generate([DOCUMENT], params)[0]
    texts = [state.text for state in states if isinstance(state, Writing)]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
    assert all(states[-1].summary.text.startswith(text) for text in texts)
    assert 0 < states[-1].first_seconds <= states[-1].seconds


def test_cancelling_frees_the_queue_and_the_engine(engine):
    async def scenario():
        queue = AdmissionQueue()
        params = GenerationParams(mode="write", num_beams=2, max_new_tokens=250, min_new_tokens=250)
        task = asyncio.create_task(collect(engine, queue, LONG, params))
        while engine.stats().running_rows == 0:
            assert not task.done(), task.exception()
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert queue.enqueue(queue.rows).admitted.is_set()
        for _ in range(100):
            if engine.stats().running_rows == 0:
                break
            await asyncio.sleep(0.05)
        stats = engine.stats()
        assert (stats.running_rows, stats.waiting_requests, stats.waiting_tokens) == (0, 0, 0)

    asyncio.run(scenario())


def test_waiting_text_reports_how_many_are_ahead(engine):
    async def scenario():
        queue = AdmissionQueue()
        running = queue.enqueue(queue.rows)
        others = [queue.enqueue(1), queue.enqueue(1)]
        task = asyncio.create_task(collect(engine, queue, DOCUMENT, GenerationParams()))
        await asyncio.sleep(0.7)
        queue.release(others[0])
        await asyncio.sleep(0.7)
        queue.release(running)
        queue.release(others[1])
        states = await task
        ahead = [state.ahead for state in states if isinstance(state, Waiting)]
        assert ahead[0] == 2, "at once"
        assert list(dict.fromkeys(ahead)) == [2, 1]
        assert isinstance(states[-1], Done)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("text", "num_beams", "rows"),
    [(DOCUMENT, 1, 1), (DOCUMENT, 4, 4), (LONG, 1, 5), (LONG, 6, 6)],
    ids=["greedy", "beams", "long", "long with beams"],
)
def test_text_takes_a_row_a_beam_and_a_long_text_more_than_half(engine, text, num_beams, rows):
    async def scenario():
        queue = AdmissionQueue(rows=8, max_waiting=1)
        params = GenerationParams(mode="write", num_beams=num_beams, max_new_tokens=2)
        async for state in summarize(engine, queue, text, params):
            if not isinstance(state, Done):
                assert queue.rows - queue.free_rows == rows

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("text", "long_text", "fewest", "most"),
    [(DOCUMENT, "split", 1, 3), (LONG, "split", 25, 60), (LONG, "truncate", 1, 1)],
)
def test_reading_says_in_how_many_chunks_a_text_is_read(engine, text, long_text, fewest, most):
    async def scenario():
        states = summarize(engine, AdmissionQueue(), text, GenerationParams(long_text=long_text))
        reading = await anext(states)
        await states.aclose()
        assert isinstance(reading, Reading)
        assert fewest <= reading.chunks <= most

    asyncio.run(scenario())


def test_written_chunks_of_a_long_text_are_counted(engine):
    params = GenerationParams(mode="write", num_beams=1, max_new_tokens=2)
    states = asyncio.run(collect(engine, AdmissionQueue(), LONG, params))
    chunks = states[-1].summary.chunks
    counted = [state for state in states if isinstance(state, Reading)][1:]
    summarized = [state.summarized for state in counted]
    assert {state.chunks for state in counted} == {chunks}
    assert summarized == sorted(summarized), "some may end in the same step"
    assert 0 < summarized[0] < summarized[-1] == chunks


def test_stop_counts_in_the_moment_of_admission_too():
    async def is_lost(iterations: int) -> bool:
        admitted = asyncio.Event()
        task = asyncio.create_task(_admitted(admitted, 60))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        admitted.set()
        for _ in range(iterations):
            await asyncio.sleep(0)
        is_cancelled = task.cancel()  # else it has returned before
        await asyncio.wait({task})
        return is_cancelled and not task.cancelled()

    assert [asyncio.run(is_lost(iterations)) for iterations in range(5)] == [False] * 5
