"""Refusals before a body is read: a full engine, and a client with many streams."""

import asyncio
import contextlib

import pytest
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse

from bento.middleware.admission import AdmissionMiddleware
from bento.process import state
from precis import EngineFull
from tests.bento.middleware.apps import app_with, client


class FakeEngine:
    """As much of an engine as admission asks."""

    full = False

    def check_admission(self, caller: str, timeout: float) -> None:
        if self.full:
            raise EngineFull(2.4)


@pytest.fixture
def engine(monkeypatch):
    monkeypatch.setattr(state, "_engine", FakeEngine())
    return state._engine


def test_full_engine_answers_429_with_the_expected_wait(engine):
    engine.full = True

    async def run():
        async with client(app_with(Middleware(AdmissionMiddleware, streams_per_client=1, max_seconds=60))) as http:
            return [await http.post(path) for path in ("/summarize", "/summarize_stream", "/livez")]

    full, stream, other = asyncio.run(run())
    assert (full.status_code, full.json()["error"]["type"], full.headers["retry-after"]) == (429, "full", "3")
    assert (stream.status_code, other.status_code) == (429, 200)


def test_streams_are_counted_per_client(engine):
    async def run():
        release = asyncio.Event()

        async def endpoint(request):
            await release.wait()
            return PlainTextResponse("")

        app = app_with(Middleware(AdmissionMiddleware, streams_per_client=2, max_seconds=60), endpoint=endpoint)
        async with contextlib.AsyncExitStack() as stack:
            one = await stack.enter_async_context(client(app))
            other = await stack.enter_async_context(client(app, "10.0.0.2"))
            running = [asyncio.create_task(one.post("/summarize_stream")) for _ in range(2)]
            await asyncio.sleep(0.1)
            refused = await one.post("/summarize_stream")
            running += [
                asyncio.create_task(other.post("/summarize_stream")),
                asyncio.create_task(one.post("/summarize")),
            ]
            await asyncio.sleep(0.1)
            release.set()
            done = [response.status_code for response in await asyncio.gather(*running)]
            again = await one.post("/summarize_stream")
        return refused, done, again

    refused, done, again = asyncio.run(run())
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "too_many_streams")
    assert int(refused.headers["retry-after"]) >= 1
    assert done == [200] * 4
    assert again.status_code == 200
