"""Security headers on every response, and none that name the server's software."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bento.middleware.paths import PAGE_PATH, route_label

HIDDEN = ("server", "x-bentoml-request-id", "x-bentoml-trace-id")
FOR_PAGES = {
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
# By route. Gradio writes its settings into the page as a script; the page loads nothing from other hosts.
CONTENT_SECURITY_POLICY = {
    PAGE_PATH: "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
    "/": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'",
}


class SecurityHeadersMiddleware:
    """Adds X-Content-Type-Options to all responses, and to those with a web page a content security policy."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        policy = CONTENT_SECURITY_POLICY.get(route_label(scope["path"]))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name in HIDDEN:
                    del headers[name]
                headers["X-Content-Type-Options"] = "nosniff"
                if policy:
                    headers.update({**FOR_PAGES, "Content-Security-Policy": policy})
            await send(message)

        await self.app(scope, receive, send_with_headers)
