"""Nothing of a visit stays in the process: neither its text nor what Gradio counts by event and by session."""

import asyncio
import gc
import os

import pytest

from bento.page import app as page_app
from tests.support.page import InProcessPage, open_page

VISITS = 12


def memory_of(page: InProcessPage):
    """The page's SessionMemory, as its middleware was given it."""
    return next(middleware.kwargs["memory"] for middleware in page.app.user_middleware if "memory" in middleware.kwargs)


async def until_idle(page: InProcessPage) -> None:
    """Waits until Gradio has finished with every event, which it does after it has answered."""
    while memory_of(page).unfinished() or not all(task.done() for task in page.blocks._queue._asyncio_tasks):
        await asyncio.sleep(0.05)


def objects_with(text: str) -> list[str]:
    """The objects since gc.freeze() that hold a string with `text` in it, in words."""
    gc.collect()
    found = []
    for container in gc.get_objects():
        if type(container) in (dict, list, tuple, set):
            values = list(container.values() if type(container) is dict else container)
            if any(type(value) is str and text in value for value in values):
                keys = list(container)[:4] if type(container) is dict else ""
                found.append(f"{type(container).__name__} {keys} of {len(values)}")
    return found


@pytest.fixture(autouse=True)
def no_sweeps_between(monkeypatch):
    monkeypatch.setattr(page_app, "SWEEP_SECONDS", 3600)


def test_text_of_ended_visits_is_in_no_object(engine):
    marker = os.urandom(8).hex()

    async def scenario():
        async with open_page(engine) as page:
            gc.freeze()  # what is there already need not be searched
            for number in range(VISITS):
                text = f"The ferry {marker} is late for day {number}. It waits at the quay."
                assert (await page.summarize(text))["success"]
            del text
            kept = len(objects_with(marker))
            for _ in range(2):  # variables of Gradio's loops hold the last event until the next
                await page.summarize("Another visit. It is short.")
            await until_idle(page)
            await memory_of(page).sweep(idle_seconds=0)
            return kept, objects_with(marker)

    try:
        kept, left = asyncio.run(scenario())
    finally:
        gc.unfreeze()
    assert kept >= VISITS, "this test sees what Gradio keeps before the sweep"
    assert left == []


def test_gradios_records_of_ended_visits_are_empty(engine):
    async def scenario():
        async with open_page(engine) as page:
            for number in range(VISITS):
                await page.summarize(f"The ferry is late for day {number}. It waits at the quay.")
            abandoned = page.event("go")
            await page.join(abandoned, page.values(abandoned, "A text whose stream nobody reads."), "abandoned")
            await until_idle(page)
            await memory_of(page).sweep(idle_seconds=0)
            queue, blocks = page.blocks._queue, page.blocks
            records = {
                "events": queue.event_ids_to_events,
                "analytics": queue.event_analytics,
                "messages": queue.pending_messages_per_session,
                "pending events": queue.pending_event_ids_session,
                "tasks": queue._asyncio_tasks,
                "states": blocks.state_holder.session_data,
                "times": blocks.state_holder.time_last_used,
                "streams": blocks.pending_streams,
                "differences": blocks.pending_diff_streams,
                "iterators": page.gradio.iterators,
                "iterators to reset": page.gradio.iterators_to_reset,
            }
            return {name: len(record) for name, record in records.items()}

    sizes = asyncio.run(scenario())
    assert sizes == dict.fromkeys(sizes, 0)


def test_session_with_an_open_stream_is_kept(engine):
    async def scenario():
        async with open_page(engine) as page:
            memory = memory_of(page)
            memory.opened("tab")
            await page.summarize("The ferry is late for the third day. It waits at the quay.", "tab")
            await memory.sweep(idle_seconds=0)
            kept = "tab" in page.blocks.state_holder.session_data
            memory.closed("tab")
            await memory.sweep(idle_seconds=0)
            return kept, "tab" in page.blocks.state_holder.session_data

    assert asyncio.run(scenario()) == (True, False)
