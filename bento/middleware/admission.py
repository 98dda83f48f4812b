"""Admission: 429 where the engine's queue is full, or a client has too many streams open."""

from collections import Counter

from starlette.types import ASGIApp, Receive, Scope, Send

from bento import metrics
from bento.errors import ServiceError, from_engine_error
from bento.middleware.caller import Caller, caller_of, current_caller
from bento.middleware.paths import STREAM_PATH, is_summarize_request
from bento.process.state import get_engine
from precis import EngineFull


class AdmissionMiddleware:
    """Refuses requests before their body is read. A client is an API key, or an address where keys are not used.

    `max_seconds` is the longest time limit of a request, beyond which no client is told to wait.
    """

    def __init__(self, app: ASGIApp, streams_per_client: int, max_seconds: float) -> None:
        self.app, self.streams_per_client, self.max_seconds = app, streams_per_client, max_seconds
        self._streams: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_summarize_request(scope):
            await self.app(scope, receive, send)
            return
        caller = caller_of(scope)
        current_caller.set(caller)
        if scope["path"] == STREAM_PATH:
            await self._stream(caller, scope, receive, send)
        else:
            await self._admit(caller, scope, receive, send)

    async def _stream(self, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        if self._streams[caller.name] >= self.streams_per_client:
            metrics.rejections.labels("streams").inc()
            message = f"A client may have {self.streams_per_client} streams open at once."
            raise ServiceError(429, "too_many_streams", message, headers={"Retry-After": "1"})
        self._streams[caller.name] += 1
        try:
            await self._admit(caller, scope, receive, send)
        finally:
            self._streams[caller.name] -= 1
            if not self._streams[caller.name]:
                del self._streams[caller.name]

    async def _admit(self, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            get_engine().check_admission(caller.name, self.max_seconds)
        except EngineFull as error:
            raise from_engine_error(error) from None
        await self.app(scope, receive, send)
