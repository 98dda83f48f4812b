"""ASGI middleware that rewrites the head of Gradio's document: tags for previews of the page, and the page's address.

Gradio computes the address from Host and X-Forwarded-*, which are the proxy's where it sends its own Host header and
lack the prefix that it strips. The browser knows both.
"""

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bento.icon import LINK

DESCRIPTION = "Paste a text, read its gist, and see which of its sentences the summary rests on."
# Gradio adds the page's own styles after it has drawn the container, which would then move.
CONTAINER_STYLE = (
    "<style>.gradio-container{width:100%;max-width:1200px!important;margin:0 auto!important;"
    "padding:clamp(18px,2.4vw,30px) clamp(16px,2.5vw,32px) 64px!important}</style>"
)
TAGS = (
    f'<title>Precis</title><meta name="description" content="{DESCRIPTION}">{LINK}'
    '<meta property="og:type" content="website"><meta property="og:title" content="Precis">'
    f'<meta property="og:description" content="{DESCRIPTION}"><meta name="twitter:card" content="summary">'
    + CONTAINER_STYLE
).encode()
# Gradio's preview shows its own picture from another server, and its link to a web app manifest is broken.
GRADIO_TAGS = re.compile(rb'<meta\s+(?:property="og:|name="twitter:)[^>]*>|<link rel="manifest"[^>]*>')
# It loads a script that only pages in a frame of another site need, which this one never is, by an absolute URL.
FRAME_SCRIPT = re.compile(
    rb"<script>(?:(?!</script>).)*/iframeResizer\.contentWindow\.min\.js(?:(?!</script>).)*</script>", re.DOTALL
)
CONFIG_SCRIPT = b"<script>window.gradio_config = "
ADDRESS_SCRIPT = b"<script>window.gradio_config.root = new URL('.', location.href).href.replace(/\\/$/, '')</script>"
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
                body = _rewritten(body)
                MutableHeaders(scope=start)["content-length"] = str(len(body))
                await send(start)
                await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, send_rewritten)


def _rewritten(document: bytes) -> bytes:
    document = CHARSET_TAG.sub(rb"\g<0>" + TAGS, GRADIO_TAGS.sub(b"", document), 1)
    before, config, after = FRAME_SCRIPT.sub(b"", document).partition(CONFIG_SCRIPT)
    settings, end, rest = after.partition(b"</script>")  # Gradio escapes "<" within
    return before + config + settings + end + (ADDRESS_SCRIPT if config else b"") + rest
