"""ASGI middleware that bounds request bodies: Gradio bounds each file, but neither their sum nor other requests."""

import re

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from bento.page.limits import MAX_BODY_BYTES, MAX_UPLOAD_BYTES

CONTENT_LENGTH = re.compile(r"[0-9]{1,19}", re.ASCII)


class UploadLimitMiddleware:
    """Answers 411 without Content-Length and 413 past the limit. The server holds a body to its Content-Length."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses the request by its headers alone, before its body is read."""
        response = self.app
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            length = Headers(scope=scope).get("content-length", "")
            limit = MAX_UPLOAD_BYTES if scope["path"].endswith("/upload") else MAX_BODY_BYTES
            if not CONTENT_LENGTH.fullmatch(length):
                response = PlainTextResponse("The length of the body is missing.", 411)
            elif int(length) > limit:
                response = PlainTextResponse("That is more than this page takes at once.", 413)
        await response(scope, receive, send)
