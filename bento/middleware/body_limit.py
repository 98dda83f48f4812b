"""Limits of a request's body: 413 for one that is too large, 408 for one that takes too long to arrive."""

import asyncio

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bento import metrics
from bento.errors import ServiceError
from bento.middleware.paths import is_summarize_request


class BodyLimitMiddleware:
    """Reads the whole body, chunked or not, within `max_bytes` and `max_seconds`, and hands it on in one message."""

    def __init__(self, app: ASGIApp, max_bytes: int, max_seconds: float) -> None:
        self.app, self.max_bytes, self.max_seconds = app, max_bytes, max_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_summarize_request(scope):
            await self.app(scope, receive, send)
            return
        body = await self._read(scope, receive)
        if not body:  # BentoML would read it as an empty object
            metrics.rejections.labels("invalid").inc()
            raise ServiceError(400, "invalid_json", "The body is empty; it should be a JSON object.")
        # All bodies are JSON, whatever a client calls them; BentoML would try other parsers.
        headers = MutableHeaders(raw=list(scope["headers"]))
        headers["content-type"] = "application/json"
        await self.app({**scope, "headers": headers.raw}, _replay(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        """The body. Raises ServiceError, or ClientDisconnect when the client leaves."""
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > self.max_bytes:
            raise self._too_large()
        chunks, size = [], 0
        try:
            async with asyncio.timeout(self.max_seconds):
                async for chunk in Request(scope, receive).stream():
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > self.max_bytes:
                        raise self._too_large()
        except TimeoutError:
            metrics.rejections.labels("slow_body").inc()
            message = f"The body did not arrive within {self.max_seconds:g} s."
            raise ServiceError(408, "timeout", message, headers={"Connection": "close"}) from None
        return b"".join(chunks)

    def _too_large(self) -> ServiceError:
        metrics.rejections.labels("too_large").inc()
        return ServiceError(413, "too_large", f"The body is larger than {self.max_bytes:,} bytes.")


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once, and then what the server sends: the client's disconnect."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
