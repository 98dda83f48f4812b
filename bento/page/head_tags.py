"""ASGI middleware that replaces Gradio's meta tags, for chats and search engines that show a preview of the page."""

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bento.icon import LINK

DESCRIPTION = "Paste a text, read its gist, and see which of its sentences the summary rests on."
TAGS = (
    f'<title>Precis</title><meta name="description" content="{DESCRIPTION}">{LINK}'
    '<meta property="og:type" content="website"><meta property="og:title" content="Precis">'
    f'<meta property="og:description" content="{DESCRIPTION}"><meta name="twitter:card" content="summary">'
).encode()
# Gradio's preview shows its own picture from another server, and its link to a web app manifest is broken.
GRADIO_TAGS = re.compile(rb'<meta\s+(?:property="og:|name="twitter:)[^>]*>|<link rel="manifest"[^>]*>')
CHARSET_TAG = re.compile(rb'<meta charset="utf-8" ?/?>')


class HeadTagsMiddleware:
    """Rewrites the head of HTML documents. Has to be the innermost middleware, since it needs uncompressed bodies."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Holds an HTML response back until its body is complete; passes everything else on."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        start: Message | None = None
        body = b""

        async def send_rewritten(message: Message) -> None:
            nonlocal start, body
            headers = Headers(raw=message.get("headers", []))
            if message["type"] == "http.response.start" and "text/html" in headers.get("content-type", ""):
                start = message
            elif start is None or message["type"] != "http.response.body":
                await send(message)
            else:
                body += message.get("body", b"")
                if message.get("more_body"):
                    return
                body = CHARSET_TAG.sub(rb"\g<0>" + TAGS, GRADIO_TAGS.sub(b"", body), 1)
                MutableHeaders(scope=start)["content-length"] = str(len(body))
                await send(start)
                await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, send_rewritten)
