"""ASGI middleware before BentoML's own handling: body limit, validation, and one form for every error."""

import json
from typing import Any

from pydantic import BaseModel, ValidationError

from bento.schema import SummarizeRequest, error_body, validation_error

MAX_BODY = 2 << 20  # bytes
CHECKED: dict[str, type[BaseModel]] = {"/summarize": SummarizeRequest}
KINDS = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 429: "full", 503: "not_ready", 504: "timeout"}
MESSAGES = {
    404: "There is nothing at this address.",
    405: "This address does not take this method.",
    500: "Something went wrong here; the server's log tells what.",
    503: "The service is not ready.",
}


class Gate:
    """Checks requests to the API before BentoML sees them, since BentoML logs each invalid one with a traceback and its
    text, knows no body limit, and words its errors in three forms. The page's own addresses pass untouched."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or path == "/ui" or path.startswith("/ui/"):
            await self.app(scope, receive, send)
            return
        if scope["method"] == "POST" and path in CHECKED:
            body = await _body(receive)
            if body is None:
                await respond(send, 413, error_body("too_large", f"The body is larger than {MAX_BODY:,} bytes."))
                return
            try:
                CHECKED[path].model_validate_json(body)
            except ValidationError as error:
                await respond(send, *validation_error(error))
                return
            receive = _replay(body, receive)
        await self.app(scope, receive, _Errors(send))


class _Errors:
    """Passes good answers on as they come; an error in another form than ours gets ours."""

    def __init__(self, send: Any) -> None:
        self.send = send
        self.start: dict | None = None
        self.body = b""

    async def __call__(self, message: dict) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self.start = message
        elif self.start is None or message["type"] != "http.response.body":
            await self.send(message)
        else:
            self.body += message.get("body", b"")
            if not message.get("more_body"):
                await self._finish(self.start)

    async def _finish(self, start: dict) -> None:
        status = start["status"]
        if _is_ours(self.body):
            await self.send(start)
            await self.send({"type": "http.response.body", "body": self.body})
            return
        kind = KINDS.get(status, "internal" if status >= 500 else "bad_request")
        message = MESSAGES.get(status, "The request cannot be answered.")
        await respond(self.send, status, error_body(kind, message))


async def respond(send: Any, status: int, body: dict) -> None:
    """Sends one JSON answer over ASGI."""
    content = json.dumps(body, ensure_ascii=False).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _body(receive: Any) -> bytes | None:
    """The whole body, chunked or not; None when it is over the limit."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


def _replay(body: bytes, receive: Any) -> Any:
    """A `receive` that gives the body again, then what the client does next."""
    given = False

    async def again() -> dict:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _is_ours(body: bytes) -> bool:
    try:
        return set(json.loads(body)["error"]) >= {"type", "message"}
    except (ValueError, TypeError, KeyError):
        return False
