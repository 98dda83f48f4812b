"""A client that leaves, or does not read, ends the work for it."""

import asyncio

import pytest
from starlette.requests import ClientDisconnect

from bento.errors import ServiceError
from bento.middleware.disconnect import DisconnectMiddleware

SCOPE = {"type": "http", "method": "POST", "path": "/summarize", "headers": []}
BODY = {"type": "http.request", "body": b"{}", "more_body": False}


class Work:
    """An app that reads its body and then works until it is cancelled, or for `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.body, self.outcome = seconds, b"", "running"

    async def __call__(self, scope, receive, send) -> None:
        self.body = (await receive())["body"]
        try:
            await asyncio.sleep(self.seconds)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            self.outcome = "done"
        except asyncio.CancelledError:
            self.outcome = "cancelled"
            raise


async def run(work: Work, leaves_after: float, max_seconds: float = 5.0, scope=SCOPE) -> list[dict]:
    messages, sent = [BODY], []

    async def receive():
        if messages:
            return messages.pop()
        await asyncio.sleep(leaves_after)
        return {"type": "http.disconnect"}

    async def send(message) -> None:
        sent.append(message)

    await DisconnectMiddleware(work, max_seconds)(scope, receive, send)
    return sent


def test_work_is_cancelled_when_the_client_leaves():
    work = Work(60)
    with pytest.raises(ClientDisconnect):
        asyncio.run(run(work, leaves_after=0.05))
    assert (work.outcome, work.body) == ("cancelled", b"{}")


def test_work_that_takes_too_long_is_cancelled_and_a_client_that_waits_gets_504():
    work = Work(60)
    with pytest.raises(ServiceError) as caught:
        asyncio.run(run(work, leaves_after=60.0, max_seconds=0.05))
    assert (caught.value.status, work.outcome) == (504, "cancelled")


def test_work_that_ends_first_is_answered():
    work = Work(0.01)
    assert [message["status"] for message in asyncio.run(run(work, 60))] == [200]
    assert work.outcome == "done"


def test_other_paths_are_not_watched():
    work = Work(0.1)
    asyncio.run(run(work, 0.01, scope={**SCOPE, "path": "/ui/queue"}))
    assert work.outcome == "done"


def test_cancelled_request_cancels_its_work():
    work = Work(60)

    async def cancel() -> None:
        task = asyncio.create_task(run(work, 60))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0)

    asyncio.run(cancel())
    assert work.outcome == "cancelled"
