"""A limit on what the page's addresses take: Gradio bounds single files, but neither their sum nor anything else."""

import re
from typing import Any

MAX_UPLOAD = 100 << 20  # bytes of one request's files
MAX_BODY = 1 << 20  # bytes of any other request
LENGTH = re.compile(rb"[0-9]{1,19}", re.ASCII)


class BodyLimit:
    """ASGI middleware. It goes by Content-Length, to which the server holds a body and which every browser sends."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            length = dict(scope["headers"]).get(b"content-length", b"")
            most = MAX_UPLOAD if scope["path"].endswith("/upload") else MAX_BODY
            if not LENGTH.fullmatch(length):
                await _refuse(send, 411, b"The length of the body is missing.")
                return
            if int(length) > most:
                await _refuse(send, 413, b"That is more than this page takes at once.")
                return
        await self.app(scope, receive, send)


async def _refuse(send: Any, status: int, words: bytes) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(words)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": words})
