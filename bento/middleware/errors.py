"""One form for every error: exceptions become responses, and errors worded by BentoML or Starlette are rewritten."""

import asyncio
import json
import logging

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bento.errors import ServiceError, shutting_down
from bento.middleware.paths import PAGE_PATH, route_label

log = logging.getLogger("precis.errors")

# Types and messages of errors that are not raised by our own code, by status.
TYPES = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 429: "full", 503: "not_ready", 504: "timeout"}
MESSAGES = {
    404: "There is nothing at this address.",
    405: "This address does not support the request's method.",
    500: "The server failed; its log has the reason.",
    503: "The service is not ready.",
}


class ErrorMiddleware:
    """Answers an exception with an error in our form, unless the response has begun; only unexpected ones are logged.

    Error responses of the page are left as they are: Gradio's scripts read them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        responder = _Responder(send, rewrite=route_label(scope["path"]) != PAGE_PATH)
        try:
            await self.app(scope, receive, responder.send)
            return
        except ServiceError as raised:
            error = raised
        except ClientDisconnect:
            # Nobody reads this answer, but BentoML's timeout and the server's shutdown wait for one.
            error = ServiceError(499, "client_disconnected", "The client has disconnected.")
        except asyncio.CancelledError:
            error = shutting_down()  # only the drain cancels requests, after the grace period
        except Exception as unexpected:
            log.error("A request failed", exc_info=unexpected)
            error = _by_status(500)
        if not responder.started:
            await error.response()(scope, receive, send)


class _Responder:
    """`send`, but an error response that is not in our form is held back and replaced when it is complete."""

    def __init__(self, send: Send, rewrite: bool) -> None:
        self._send, self._rewrite = send, rewrite
        self.started = False
        self._held: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            if self._rewrite and message["status"] >= 400:
                self._held = message
                return
        if self._held is None:
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if not message.get("more_body"):
            await self._send_error(self._held)

    async def _send_error(self, start: Message) -> None:
        if not _is_our_form(self._body):
            error = _by_status(start["status"])
            # Allow, Retry-After and the like stay.
            headers = Headers(raw=start["headers"]).items()
            error.headers = {key: value for key, value in headers if not key.startswith("content-")}
            response = error.response()
            self._body = bytes(response.body)
            start = {**start, "headers": response.raw_headers}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": self._body})


def _by_status(status: int) -> ServiceError:
    type_ = TYPES.get(status, "internal" if status >= 500 else "bad_request")
    return ServiceError(status, type_, MESSAGES.get(status, "The request cannot be answered."))


def _is_our_form(body: bytes) -> bool:
    try:
        return set(json.loads(body)["error"]) >= {"type", "message"}
    except (ValueError, TypeError, KeyError):
        return False
