"""Limits of bodies: 413 for one that is too large, 408 for one that is too slow, 429 for too many at once."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bento import metrics
from bento.errors import ServiceError
from bento.middleware.caller import caller_of
from bento.middleware.paths import is_summarize_request

MIN_TOTAL_BYTES = 64 << 20  # of all bodies together
UNCOUNTED_BYTES = 16 << 10  # of each body, so that short texts are taken whatever the long ones hold
DISCARDED_BYTES = 4 << 20  # of a body that is too large, before the answer
DISCARD_SECONDS = 1.0
CALLER_SHARE = 0.5  # of the total, for one caller


class BodyLimitMiddleware:
    """Reads the whole body, chunked or not, within `max_bytes` and `max_seconds`, and hands it on in one message.

    All bodies together may have MIN_TOTAL_BYTES, or four times `max_bytes`. A body counts from its first bytes until
    its request is answered, since its text is kept so long.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_seconds: float) -> None:
        self.app, self.max_bytes, self.max_seconds = app, max_bytes, max_seconds
        self.max_total_bytes = max(MIN_TOTAL_BYTES, 4 * max_bytes)
        self._held: Counter[str] = Counter()  # counted bytes by caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_summarize_request(scope):
            await self.app(scope, receive, send)
            return
        _check_encoding(scope)
        caller = caller_of(scope).name
        chunks: list[bytes] = []
        size = 0
        try:
            async for chunk in self._chunks(scope, receive):
                self._held[caller] += _counted(size + len(chunk)) - _counted(size)
                size += len(chunk)
                chunks.append(chunk)
                if size > UNCOUNTED_BYTES:
                    self._check_total(caller)
            if not size:  # BentoML would read it as an empty object
                metrics.rejections.labels("invalid").inc()
                raise ServiceError(400, "invalid_json", "The body is empty; it should be a JSON object.")
            # All bodies are JSON, whatever a client calls them; BentoML would try other parsers.
            headers = MutableHeaders(raw=list(scope["headers"]))
            headers["content-type"] = "application/json"
            replay = replay_body(b"".join(chunks), receive)
            chunks.clear()
            await self.app({**scope, "headers": headers.raw}, replay, send)
        finally:
            self._held[caller] -= _counted(size)
            if self._held[caller] <= 0:
                del self._held[caller]

    async def _chunks(self, scope: Scope, receive: Receive) -> AsyncGenerator[bytes]:
        """The body. Raises ServiceError, or ClientDisconnect when the client leaves."""
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > self.max_bytes:
            await _discard(receive)
            raise self._too_large()
        size = 0
        try:
            async with asyncio.timeout(self.max_seconds):
                async for chunk in Request(scope, receive).stream():
                    size += len(chunk)
                    if size > self.max_bytes:
                        await _discard(receive)
                        raise self._too_large()
                    yield chunk
        except TimeoutError:
            metrics.rejections.labels("slow_body").inc()
            message = f"The body did not arrive within {self.max_seconds:g} s."
            raise ServiceError(408, "timeout", message, headers={"Connection": "close"}) from None

    def _check_total(self, caller: str) -> None:
        limits = ((self._held.total(), 1.0), (self._held[caller], CALLER_SHARE))
        if any(held > share * self.max_total_bytes for held, share in limits):
            metrics.rejections.labels("bodies").inc()
            headers = {"Retry-After": "1", "Connection": "close"}
            raise ServiceError(429, "full", "Too many large bodies are being received; try again.", headers=headers)

    def _too_large(self) -> ServiceError:
        metrics.rejections.labels("too_large").inc()
        return ServiceError(413, "too_large", f"The body is larger than {self.max_bytes:,} bytes.")


async def _discard(receive: Receive) -> None:
    """Reads some of what remains of a body: a client that still sends would see a reset connection, not the answer."""
    size = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_SECONDS):
            while size < DISCARDED_BYTES:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body"):
                    return
                size += len(message.get("body", b""))


def _counted(size: int) -> int:
    """How many bytes of a body of `size` bytes count."""
    return max(0, size - UNCOUNTED_BYTES)


def _check_encoding(scope: Scope) -> None:
    """Raises ServiceError (415) for a compressed body: it would be unpacked here, to any size."""
    headers = Headers(scope=scope)
    for name, plain in (("Content-Encoding", "identity"), ("Transfer-Encoding", "chunked")):
        encodings = ",".join(headers.getlist(name)).split(",")
        if any(encoding.strip().lower() not in ("", plain) for encoding in encodings):
            metrics.rejections.labels("invalid").inc()
            message = f"The body has a {name} other than {plain}, and is not read."
            raise ServiceError(415, "unsupported_encoding", message, headers={"Accept-Encoding": "identity"})


def replay_body(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once, and then what the server sends: the client's disconnect."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
