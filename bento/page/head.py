"""The page's head for those who run no scripts, such as a chat that shows a preview of a link: ours, not Gradio's."""

import re
from typing import Any

from bento.icon import LINK

DESCRIPTION = "Paste a text, read its gist, and see which of its sentences the summary rests on."
OURS = (
    f'<title>Precis</title><meta name="description" content="{DESCRIPTION}">{LINK}'
    '<meta property="og:type" content="website"><meta property="og:title" content="Precis">'
    f'<meta property="og:description" content="{DESCRIPTION}"><meta name="twitter:card" content="summary">'
).encode()
# Gradio's preview has its own picture, from a server that is not ours, and its link to a manifest leads nowhere.
GRADIOS = re.compile(rb'<meta\s+(?:property="og:|name="twitter:)[^>]*>|<link rel="manifest"[^>]*>')
CHARSET = re.compile(rb'<meta charset="utf-8" ?/?>')


class Head:
    """ASGI middleware that gives documents our head."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        start: dict | None = None
        body = b""

        async def rewritten(message: dict) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start" and _is_html(message):
                start = message
            elif start is None or message["type"] != "http.response.body":
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body"):
                    body = CHARSET.sub(rb"\g<0>" + OURS, GRADIOS.sub(b"", body), 1)
                    kept = [pair for pair in start["headers"] if pair[0].lower() != b"content-length"]
                    length = (b"content-length", str(len(body)).encode())
                    await send({**start, "headers": [*kept, length]})
                    await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, rewritten)


def _is_html(start: dict) -> bool:
    return any(name.lower() == b"content-type" and b"text/html" in value for name, value in start["headers"])
