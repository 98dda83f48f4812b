"""One running task a session: stopping, replacing, errors, and noticing a visitor who has left."""

import asyncio
from types import SimpleNamespace

import pytest

from bento.page import sessions
from bento.page.sessions import SessionTasks
from precis import TextError


def start(tasks, views, session="a visitor"):
    """A task that collects the views of `views`; a status line is shown as it is."""
    request = SimpleNamespace(session_hash=session)

    async def collect():
        return [view async for view in tasks.run(request, views, lambda sentence, kind: f"{kind}: {sentence}")]

    return request, asyncio.create_task(collect())


async def endless(closed):
    try:
        yield "first"
        await asyncio.sleep(60)
    finally:
        closed.append(True)


def test_stop_closes_the_task_and_shows_it():
    async def scenario():
        tasks, closed = SessionTasks(), []
        request, collecting = start(tasks, endless(closed))
        await asyncio.sleep(0.05)
        tasks.stop(request)
        assert await collecting == ["first", "quiet: Stopped."]
        assert closed == [True]
        tasks.stop(request)  # nothing runs: no effect

    asyncio.run(scenario())


def test_newer_task_replaces_the_older_one_in_silence():
    async def scenario():
        tasks, closed = SessionTasks(), []

        async def second_views():
            yield "second"

        _, first = start(tasks, endless(closed))
        await asyncio.sleep(0.05)
        _, second = start(tasks, second_views())
        assert await first == ["first"]
        assert await second == ["second"]
        assert closed == [True]

    asyncio.run(scenario())


def test_sessions_do_not_disturb_each_other():
    async def scenario():
        tasks, closed = SessionTasks(), []
        first_request, first = start(tasks, endless(closed), "one")
        _, second = start(tasks, endless(closed), "two")
        await asyncio.sleep(0.05)
        tasks.stop(first_request)
        assert await first == ["first", "quiet: Stopped."]
        assert not second.done()
        second.cancel()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("error", "message"),
    [(TextError("the text is empty."), "The text is empty."), (OSError("secret"), "Something went wrong here")],
)
def test_error_ends_as_a_status_line(error, message):
    async def failing():
        yield "first"
        raise error

    async def scenario():
        _, collecting = start(SessionTasks(), failing())
        first, line = await collecting
        assert first == "first"
        assert line.startswith(f"error: {message}")
        assert "secret" not in line

    asyncio.run(scenario())


def test_view_is_repeated_in_silence_and_leaving_closes_the_task(monkeypatch):
    monkeypatch.setattr(sessions, "HEARTBEAT_SECONDS", 0.01)

    async def scenario():
        closed = []
        views = SessionTasks().run(SimpleNamespace(session_hash="a visitor"), endless(closed), "{1}: {0}".format)
        assert [await anext(views) for _ in range(3)] == ["first"] * 3
        await views.aclose()
        assert closed == [True]

    asyncio.run(scenario())
