"""Cancels the work for clients that have disconnected, or that do not read their response."""

import asyncio
import contextlib

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bento import metrics
from bento.errors import ServiceError
from bento.middleware.paths import is_summarize_request


class DisconnectMiddleware:
    """Raises ClientDisconnect after cancelling the app, so that its rows are free at the engine's next step.

    BentoML itself notices a disconnect only while it streams. `max_seconds` bounds the time of a whole response, since
    a client that does not read holds it up; after that it raises ServiceError (504), which such a client will not read.
    """

    def __init__(self, app: ASGIApp, max_seconds: float) -> None:
        self.app, self.max_seconds = app, max_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_summarize_request(scope):
            await self.app(scope, receive, send)
            return
        messages: asyncio.Queue[Message] = asyncio.Queue()
        work = asyncio.ensure_future(self.app(scope, messages.get, send))
        watch = asyncio.ensure_future(_forward(receive, messages))
        try:
            await asyncio.wait({work, watch}, timeout=self.max_seconds, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                return
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
            if not watch.done():
                metrics.rejections.labels("timeout").inc()
                raise ServiceError(504, "timeout", "The summary was not ready in time.")
            metrics.rejections.labels("client_disconnected").inc()
            raise ClientDisconnect
        finally:
            work.cancel()
            watch.cancel()


async def _forward(receive: Receive, messages: asyncio.Queue[Message]) -> None:
    """Passes messages on and returns after the client's disconnect."""
    while (message := await receive())["type"] != "http.disconnect":
        messages.put_nowait(message)
    messages.put_nowait(message)
