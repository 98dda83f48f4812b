"""The page in this process, without a browser: visits as Gradio's client makes them."""

import contextlib
import json
import os
from typing import Any

import gradio as gr
import httpx
from fastapi import FastAPI

from bento.page.app import mount
from precis import Engine

API = "/ui/gradio_api"


class InProcessPage:
    """The mounted page; `client` sends requests to it. Close its streams by reading them to their end."""

    def __init__(self, app: FastAPI, client: httpx.AsyncClient) -> None:
        self.app, self.client = app, client
        self.gradio = next(route.app for route in app.routes if route.path == "/ui")  # type: ignore[attr-defined]
        self.blocks: gr.Blocks = self.gradio.get_blocks()

    def event(self, elem_id: str) -> int:
        """The number of the event that a component starts."""
        [component] = [block for block in self.blocks.blocks.values() if getattr(block, "elem_id", "") == elem_id]
        targets = {number: fn.targets for number, fn in self.blocks.fns.items() if fn.fn is not None}
        return next(number for number, pairs in targets.items() if any(pair[0] == component._id for pair in pairs))

    def values(self, number: int, first: Any) -> list[Any]:
        """The event's values: `first`, and those that the page shows at first."""
        return [first, *(getattr(block, "value", None) for block in self.blocks.fns[number].inputs[1:])]

    async def join(self, number: int, values: list[Any], session: str) -> httpx.Response:
        """Starts an event."""
        return await self.client.post(
            f"{API}/queue/join", json={"data": values, "fn_index": number, "session_hash": session}
        )

    async def summarize(self, text: str, session: str | None = None) -> dict[str, Any]:
        """A visit that summarizes `text`; the message that ends it."""
        number, session = self.event("go"), session or os.urandom(8).hex()
        response = await self.join(number, self.values(number, text), session)
        assert response.status_code == 200, response.text
        return await self.finish(session)

    async def finish(self, session: str) -> dict[str, Any]:
        """Reads the session's stream to its end; the message that ended its event."""
        response = await self.client.get(f"{API}/queue/data", params={"session_hash": session})
        messages = [json.loads(line[5:]) for line in response.text.splitlines() if line.startswith("data:")]
        return next(message for message in messages if message["msg"] == "process_completed")


@contextlib.asynccontextmanager
async def open_page(engine: Engine):
    """The page with `engine`, started and stopped."""
    app = mount(FastAPI(openapi_url=None), engine)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", timeout=60) as client,
    ):
        yield InProcessPage(app, client)
