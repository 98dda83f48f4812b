"""The page's routes: ASGI middleware in front of Gradio's app with the few that the page uses. All others get 404.

Gradio opens many more to anybody: files, redirects, reloading, saved links. What starts an event is checked here too,
since Gradio downloads a file that is named by a URL, and prints a traceback with the values that it cannot use.
"""

import asyncio
import re
from typing import Any

import gradio as gr
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from bento.middleware.body_limit import replay_body
from bento.page import limits
from bento.page.session_memory import SessionMemory
from bento.page.upload_route import UploadRoute
from bento.page.uploads import NotUploaded, UploadStore
from bento.page.visitors import Budget, BudgetExceeded, visitor_of

PAGE = "/ui"
API = f"{PAGE}/gradio_api"
SESSION = "[A-Za-z0-9]{1,64}"
STATIC = re.compile(rf"{PAGE}/(?:|theme\.css|(?:assets|static)/[\w./-]+)", re.ASCII)
HEARTBEAT = re.compile(f"{API}/heartbeat/({SESSION})")
BUSY = "Too many visitors are here at present; please try again in a minute."
NO_SUCH_FILE = "This file is not here any more; please choose it again."


class _Event(BaseModel):
    """The part of Gradio's PredictBody that the page's scripts need."""

    model_config = ConfigDict(strict=True)

    data: list[JsonValue]
    fn_index: int
    session_hash: str = Field(pattern=f"^{SESSION}$")
    trigger_id: int | None = None


class EventRefused(Exception):
    """The event is not started; `status` is the response's, the message its `detail`, which Gradio's client shows."""

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


class PageRoutesMiddleware:
    """Passes on what the page uses."""

    def __init__(self, app: ASGIApp, page: gr.Blocks, memory: SessionMemory, uploads: UploadStore) -> None:
        self.app, self._page, self._memory, self._uploads = app, page, memory, uploads
        self._upload = UploadRoute(uploads)
        self._bodies = Budget(limits.MAX_EVENT_BYTES, limits.MAX_EVENT_BYTES // 2)
        self._streams = Budget(limits.MAX_STREAMS, limits.MAX_STREAMS_PER_VISITOR)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        # Gradio would take the page's address from these, whoever sends them; the browser knows it (head_tags).
        headers = [(name, value) for name, value in scope["headers"] if not name.startswith(b"x-forwarded-")]
        response = await self._route({**scope, "headers": headers}, receive, send)
        if response is not None:
            await response(scope, receive, send)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> Response | None:
        """The response, or None where Gradio has sent one."""
        request = Request(scope, receive)
        method, path = scope["method"], scope["path"]
        if method in ("GET", "HEAD") and STATIC.fullmatch(path):
            await self.app({**scope, "query_string": b""}, receive, send)  # the query is for the browser's scripts
            return None
        if method == "GET" and path == f"{API}/upload_progress":
            # Gradio's client waits for this stream; files are small enough to do without a progress bar.
            return PlainTextResponse('data: {"msg": "done"}\n\n', media_type="text/event-stream")
        if method == "GET" and (session := self._streamed_session(request)):
            return await self._stream(request, session, send)
        if method == "POST" and path == f"{API}/upload":
            return await self._upload(request)
        if method == "POST" and path == f"{API}/queue/join":
            return await self._join(request, send)
        return Response(status_code=404)

    def _streamed_session(self, request: Request) -> str | None:
        """The session whose heartbeat or events are asked for."""
        path = request.scope["path"]
        if match := HEARTBEAT.fullmatch(path):
            return match[1]
        session = request.query_params.get("session_hash", "")
        # For a session without events Gradio would print a traceback.
        known = path == f"{API}/queue/data" and session in self._page._queue.pending_messages_per_session
        return session if known else None

    async def _stream(self, request: Request, session: str, send: Send) -> Response | None:
        try:
            with self._streams.holding(visitor_of(request), 1):
                self._memory.opened(session)
                try:
                    await self.app(request.scope, request.receive, send)
                finally:
                    self._memory.closed(session)
        except BudgetExceeded:
            return JSONResponse({"detail": BUSY}, 503)
        return None

    async def _join(self, request: Request, send: Send) -> Response | None:
        """Starts an event, if it is one that the page's own scripts may start."""
        visitor, size = visitor_of(request), int(request.headers["content-length"])
        try:
            with self._bodies.holding(visitor, size):
                self._check_load(visitor, size)
                async with asyncio.timeout(limits.BODY_SECONDS):
                    body = await request.body()
                event = self._checked(body)
                self._memory.opened(event.session_hash)
                try:
                    await self.app(*_with_body(request, event.model_dump_json().encode()), send)
                finally:
                    self._memory.closed(event.session_hash)
        except EventRefused as refusal:
            return JSONResponse({"detail": str(refusal)}, refusal.status)
        except BudgetExceeded:
            return JSONResponse({"detail": BUSY}, 503)
        except TimeoutError:
            return JSONResponse({"detail": "The request took too long to arrive."}, 408, {"Connection": "close"})
        except ClientDisconnect:
            return Response(status_code=499)  # as nginx logs it; nobody reads it
        return None

    def _check_load(self, visitor: str, size: int) -> None:
        """Raises EventRefused where events that wait or run, or their texts, are too many or too large in sum."""
        events = self._memory.unfinished()
        own = [event for event in events if visitor_of(event.request) == visitor]
        for running, count, total in (
            (events, limits.MAX_EVENTS, limits.MAX_EVENT_BYTES),
            (own, limits.MAX_EVENTS_PER_VISITOR, limits.MAX_EVENT_BYTES // 2),
        ):
            if len(running) >= count or size + sum(map(_size, running)) > total:
                raise EventRefused(BUSY, 503)

    def _checked(self, body: bytes) -> _Event:
        """The event with nothing in it but what its handler takes. Raises EventRefused."""
        try:
            event = _Event.model_validate_json(body)
        except ValidationError:
            raise EventRefused("This is no event of the page.") from None
        handler = self._page.fns.get(event.fn_index)
        if handler is None or handler.fn is None or len(event.data) != len(handler.inputs):
            raise EventRefused("The page has no such event; please load it again.")
        event.data = [
            self._checked_value(component, value, event.session_hash)
            for component, value in zip(handler.inputs, event.data, strict=True)
        ]
        return event

    def _checked_value(self, component: Any, value: JsonValue, session: str) -> JsonValue:
        if isinstance(component, gr.State):
            return None
        if isinstance(component, gr.File | gr.UploadButton):
            if isinstance(value, list):
                return [self._checked_file(file, session) for file in value]
            return None if value is None else self._checked_file(value, session)
        if isinstance(value, dict | list):
            raise EventRefused("The page's options are numbers and words.")
        return value

    def _checked_file(self, file: JsonValue, session: str) -> JsonValue:
        """The file without its URL and all else that Gradio would look at."""
        try:
            path = self._uploads.claim(file.get("path") if isinstance(file, dict) else None, session)
        except NotUploaded:
            raise EventRefused(NO_SUCH_FILE, 400) from None
        return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


def _size(event: Any) -> int:
    return int(event.request.headers.get("content-length", 0))


def _with_body(request: Request, body: bytes) -> tuple[Scope, Receive]:
    """The request's scope and `receive` with another body."""
    headers = MutableHeaders(raw=list(request.scope["headers"]))
    headers["content-length"], headers["content-type"] = str(len(body)), "application/json"
    return {**request.scope, "headers": headers.raw}, replay_body(body, request.receive)
