"""The request id: the caller's X-Request-ID or a new one, in the response and in every log line of the request."""

import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bento import logs

VALID_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


class RequestIDMiddleware:
    """Sets `logs.request_id` and the response's X-Request-ID. An id of other characters is replaced by a new one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent = Headers(scope=scope).get("x-request-id", "")
        request_id = sent if VALID_ID.fullmatch(sent) else uuid.uuid4().hex
        logs.request_id.set(request_id)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        await self.app(scope, receive, send_with_id)
