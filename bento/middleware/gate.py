"""ASGI middleware before BentoML's own handling: who may ask what, limits, validation, one form for every error."""

import asyncio
import contextlib
import json
import logging
import re
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from pydantic import BaseModel, ValidationError

from bento import logs, metrics
from bento.handlers import RESTART, STOPPING, Failure, failure
from bento.middleware.api_keys import Keys
from bento.process.lifecycle import Lifecycle
from bento.process.state import current
from bento.schema import BatchRequest, SummarizeRequest, error_body, validation_error
from bento.settings import ServiceSettings
from precis import EngineFull

log = logging.getLogger("precis.access")

CHECKED: dict[str, type[BaseModel]] = {
    "/summarize": SummarizeRequest,
    "/summarize_batch": BatchRequest,
    "/summarize_stream": SummarizeRequest,
}
STREAM = "/summarize_stream"
READ = ("/", "/docs.json", "/schema.json", "/model", "/livez", "/healthz", "/readyz", "/metrics", "/favicon.ico")
WITH_KEY = {*CHECKED, "/model"}
QUIET = {"/livez", "/healthz", "/readyz", "/metrics", "/favicon.ico", "/ui"}  # not in the access log
KINDS = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 429: "full", 503: "not_ready", 504: "timeout"}
MESSAGES = {
    404: "There is nothing at this address.",
    405: "This address does not take this method.",
    500: "Something went wrong here; the server's log tells what.",
    503: "The service is not ready.",
}
GOOD_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
HIDDEN = {b"server", b"x-bentoml-request-id", b"x-bentoml-trace-id"}
SPARE = 15.0  # seconds over the longest request's time, after which a client that does not read is let go
SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]
# What the page's own scripts need, and nothing from elsewhere. Gradio writes its settings into the page.
PAGE_POLICY = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    b"object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
DOCS_POLICY = b"default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'"


class Gate:
    """Checks requests before BentoML sees them, since BentoML logs each invalid one with a traceback and its text,
    knows no body limit, goes on for clients that have left, and words its errors in three forms."""

    def __init__(self, app: Any, settings: ServiceSettings, lifecycle: Lifecycle) -> None:
        self.app, self.settings, self.lifecycle = app, settings, lifecycle
        self.keys = Keys(settings)
        self.streams: Counter[str] = Counter()

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        route = _route(scope["path"])
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        name = given if GOOD_ID.fullmatch(given) else uuid.uuid4().hex
        logs.request_id.set(name)
        answer = _Answer(send, name, route)
        began = time.monotonic()
        task = asyncio.current_task()
        group = self.lifecycle.running if route in CHECKED else self.lifecycle.others
        group.add(task)
        metrics.in_flight.set(len(self.lifecycle.running))
        try:
            await self._answer(route, headers, scope, receive, answer)
        except Failure as refusal:
            await respond(answer, refusal.status, refusal.body, refusal.headers)
        except asyncio.CancelledError:
            # Only the lifecycle cancels: the grace time is over.
            if not answer.status:
                await respond(answer, 503, error_body("stopping", STOPPING), {"Retry-After": str(RESTART)})
        except Exception as error:
            logging.getLogger("precis.gate").error("A request failed", exc_info=error)
            if not answer.status:
                await respond(answer, 500, error_body("internal", MESSAGES[500]))
        finally:
            group.discard(task)
            if route in CHECKED:
                self.lifecycle.answered = time.monotonic()
            metrics.in_flight.set(len(self.lifecycle.running))
            seconds = time.monotonic() - began
            metrics.requests.labels(route, str(answer.status)).inc()
            metrics.latency.labels(route).observe(seconds)
            if route not in QUIET:
                fields = {
                    "route": route, "method": scope["method"] if scope["method"].isalpha() else None,
                    "status": answer.status, "milliseconds": round(seconds * 1000, 1),
                }  # fmt: skip
                log.info("answered", extra={"fields": fields})

    async def _answer(self, route: str, headers: dict[bytes, bytes], scope: dict, receive: Any, answer: Any) -> None:
        if route == "other":
            raise Failure(404, error_body("not_found", MESSAGES[404]))
        if route in CHECKED or route in READ:
            allowed = ("POST",) if route in CHECKED else ("GET", "HEAD")
            if scope["method"] not in allowed:
                raise Failure(405, error_body("method_not_allowed", MESSAGES[405]), {"Allow": ", ".join(allowed)})
        if route == "/readyz" and not self.lifecycle.serving:
            raise Failure(503, error_body("not_ready", MESSAGES[503]), {"Retry-After": str(RESTART)})
        client = (scope.get("client") or ("unknown",))[0]
        if self.keys.asked and route in WITH_KEY:
            client = self.keys.client(headers)
            if client is None:
                metrics.rejections.labels("no_key").inc()
                raise Failure(401, error_body("no_key", "A valid API key is needed."), {"WWW-Authenticate": "Bearer"})
        if self.lifecycle.draining and (route in CHECKED or route == "/ui"):
            metrics.rejections.labels("stopping").inc()
            raise Failure(503, error_body("stopping", STOPPING), {"Retry-After": str(RESTART)})
        if route not in CHECKED:
            await self.app(scope, receive, answer)
            return
        async with self._stream_of(client) if route == STREAM else contextlib.nullcontext():
            await self._work(route, headers, scope, receive, answer)

    @contextlib.asynccontextmanager
    async def _stream_of(self, client: str) -> AsyncIterator[None]:
        if self.streams[client] >= self.settings.streams_per_client:
            metrics.rejections.labels("streams").inc()
            message = f"One client may have {self.settings.streams_per_client} streams open at once."
            raise Failure(429, error_body("too_many_streams", message), {"Retry-After": "1"})
        self.streams[client] += 1
        try:
            yield
        finally:
            self.streams[client] -= 1
            if not self.streams[client]:
                del self.streams[client]

    async def _work(self, route: str, headers: dict[bytes, bytes], scope: dict, receive: Any, answer: Any) -> None:
        try:
            current().check_admission()  # before anything is spent on the body
        except EngineFull as full:
            raise failure(full) from None
        body = await self._body(headers, receive)
        if body is None:
            raise _left()
        try:
            CHECKED[route].model_validate_json(body)
        except ValidationError as error:
            metrics.rejections.labels("invalid").inc()
            raise Failure(*validation_error(error)) from None
        # All our bodies are JSON, whatever a client calls them; BentoML would try other readers.
        plain = [(key, value) for key, value in scope["headers"] if key != b"content-type"]
        scope = {**scope, "headers": [*plain, (b"content-type", b"application/json")]}
        gone = asyncio.Event()
        app = asyncio.create_task(self.app(scope, _replay(body, gone), answer))
        watch = asyncio.create_task(_until_gone(receive))
        longest = self.settings.timeout_seconds + SPARE
        try:
            await asyncio.wait({app, watch}, timeout=longest, return_when=asyncio.FIRST_COMPLETED)
            if app.done():
                await app
                return
            # Nobody reads the answer: cancelling it frees its rows at the next step.
            gone.set()
            app.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await app
            metrics.rejections.labels("client_left").inc()
            if not answer.status:
                raise _left()
        finally:
            app.cancel()
            watch.cancel()

    async def _body(self, headers: dict[bytes, bytes], receive: Any) -> bytes | None:
        """The whole body, chunked or not; None when the client leaves. Raises Failure over the limits."""
        limit = self.settings.max_body_bytes
        too_large = Failure(413, error_body("too_large", f"The body is larger than {limit:,} bytes."))
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > limit:
            metrics.rejections.labels("too_large").inc()
            raise too_large
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.settings.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > limit:
                        metrics.rejections.labels("too_large").inc()
                        raise too_large
                    if not message.get("more_body"):
                        return b"".join(parts)
        except TimeoutError:
            metrics.rejections.labels("slow_body").inc()
            said = error_body("timeout", f"The body did not arrive within {self.settings.body_seconds:g} s.")
            raise Failure(408, said, {"Connection": "close"}) from None


class _Answer:
    """`send` with our headers; an error in another form than ours gets ours. `status` is 0 until it is sent."""

    def __init__(self, send: Any, name: str, route: str) -> None:
        self.send, self.name, self.route = send, name, route
        self.status = 0
        self.error: dict | None = None
        self.body = b""

    async def __call__(self, message: dict) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [pair for pair in message["headers"] if pair[0].lower() not in HIDDEN]
            message = {**message, "headers": [*headers, (b"x-request-id", self.name.encode()), *self._security()]}
            if message["status"] >= 400 and self.route != "/ui":
                self.error = message
                return
        if self.error is None or message["type"] != "http.response.body":
            await self.send(message)
            return
        self.body += message.get("body", b"")
        if not message.get("more_body"):
            await self._finish(self.error)

    def _security(self) -> list[tuple[bytes, bytes]]:
        if self.route not in ("/", "/ui"):
            return SECURITY[:1]
        return [*SECURITY, (b"content-security-policy", PAGE_POLICY if self.route == "/ui" else DOCS_POLICY)]

    async def _finish(self, start: dict) -> None:
        body = self.body
        if not _is_ours(body):
            status = start["status"]
            kind = KINDS.get(status, "internal" if status >= 500 else "bad_request")
            body = _json(error_body(kind, MESSAGES.get(status, "The request cannot be answered.")))
            kept = [pair for pair in start["headers"] if pair[0].lower() not in (b"content-type", b"content-length")]
            described = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            start = {**start, "headers": [*kept, *described]}
        await self.send(start)
        await self.send({"type": "http.response.body", "body": body})


async def respond(send: Any, status: int, body: dict, headers: dict[str, str] | None = None) -> None:
    """Sends one JSON answer over ASGI."""
    content = _json(body)
    described = {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or {})}
    pairs = [(key.lower().encode(), value.encode()) for key, value in described.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": content})


def _left() -> Failure:
    """Nobody reads it; but BentoML's own time limit waits for every request's answer, and the server's end for that."""
    return Failure(499, error_body("client_left", "The client has left."))


def _route(path: str) -> str:
    """The address as a label: one of ours, "/ui" for all of the page, or "other"."""
    if path in CHECKED or path in READ:
        return path
    return "/ui" if path == "/ui" or path.startswith("/ui/") else "other"


async def _until_gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _replay(body: bytes, gone: asyncio.Event) -> Any:
    """A `receive` that gives the body again, and then waits until the client has left."""
    given = False

    async def again() -> dict:
        nonlocal given
        if given:
            await gone.wait()
            return {"type": "http.disconnect"}
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _json(body: dict) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


def _is_ours(body: bytes) -> bool:
    try:
        return set(json.loads(body)["error"]) >= {"type", "message"}
    except (ValueError, TypeError, KeyError):
        return False
