"""Nothing of a visit stays in the process: neither its text nor what Gradio counts by event and by session."""

import asyncio
import gc
import os

from tests.support.page import API, InProcessPage

VISITS = 12


async def until_idle(page: InProcessPage) -> None:
    """Waits until Gradio has finished with every event, which it does after it has answered."""
    while page.memory.unfinished() or not all(task.done() for task in page.blocks._queue._asyncio_tasks):
        await asyncio.sleep(0.05)


def objects_with(text: str) -> list[str]:
    """The objects since gc.freeze() that hold a string with `text` in it, in words."""
    gc.collect()
    descriptions = []
    for container in gc.get_objects():
        if type(container) in (dict, list, tuple, set):
            values = list(container.values() if type(container) is dict else container)
            if any(type(value) is str and text in value for value in values):
                keys = list(container)[:4] if type(container) is dict else ""
                descriptions.append(f"{type(container).__name__} {keys} of {len(values)}")
    return descriptions


def test_text_of_ended_visits_is_in_no_object(mounted_page):
    page, marker = mounted_page, os.urandom(8).hex()

    async def scenario():
        for number in range(VISITS):
            assert (await page.summarize(f"The ferry {marker} is late for day {number}. It waits at the quay."))[
                "success"
            ]
        before_sweep = len(objects_with(marker))
        for _ in range(20):  # variables of Gradio's loops hold an event or two until they see another
            await page.summarize("Another visit. It is short.")
            await until_idle(page)
            await page.memory.sweep(idle_seconds=0)
            if not (remaining := objects_with(marker)):
                break
        return before_sweep, remaining

    gc.freeze()  # what is there already need not be searched
    try:
        before_sweep, remaining = page.run(scenario())
    finally:
        gc.unfreeze()
    assert before_sweep >= VISITS, "this test sees what Gradio keeps before the sweep"
    assert remaining == []


def test_gradios_records_of_ended_visits_are_empty(mounted_page):
    page = mounted_page

    async def scenario():
        for number in range(VISITS):
            await page.summarize(f"The ferry is late for day {number}. It waits at the quay.")
        abandoned = page.event("go")
        await page.join(abandoned, page.values(abandoned, "A text whose stream nobody reads."), "abandoned")
        await until_idle(page)
        await page.memory.sweep(idle_seconds=0)
        queue, blocks = page.blocks._queue, page.blocks
        records = {
            "events": queue.event_ids_to_events,
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

    sizes = page.run(scenario())
    assert sizes == dict.fromkeys(sizes, 0)


def test_session_with_an_open_stream_is_kept(mounted_page):
    page, states = mounted_page, mounted_page.blocks.state_holder

    async def scenario():
        page.memory.opened("tab")
        await page.summarize("The ferry is late for the third day. It waits at the quay.", "tab")
        await until_idle(page)
        await page.memory.sweep(idle_seconds=0)
        open_stream = "tab" in states.session_data
        page.memory.closed("tab")
        await page.memory.sweep(idle_seconds=60)
        kept_for_a_while = "tab" in states.session_data
        await page.memory.sweep(idle_seconds=0)
        return open_stream, kept_for_a_while, "tab" in states.session_data

    assert page.run(scenario()) == (True, True, False)


def test_event_of_a_visitor_who_has_left_is_ended(mounted_page):
    page = mounted_page

    async def scenario():
        number = page.event("go")
        queue = page.blocks.fns[number].fn.__self__._queue
        others = queue.enqueue(queue.rows, "others")  # so that the text waits
        await page.join(number, page.values(number, "The ferry to Lund is late. It waits at the quay."), "left")
        while not queue._waiting:
            await asyncio.sleep(0.02)
        await page.memory.sweep(idle_seconds=0)
        late = await asyncio.wait_for(page.client.get(f"{API}/queue/data?session_hash=left"), 10)
        for _ in range(200):
            if not page.memory.unfinished():
                break
            await asyncio.sleep(0.05)
        await page.memory.sweep(idle_seconds=0)
        queue.release(others)
        known = "left" in page.blocks.state_holder.session_data
        return late.status_code, len(page.blocks._queue.event_ids_to_events), known

    assert page.run(scenario()) == (404, 0, False), "a stream that is opened too late must not wait for ever"
