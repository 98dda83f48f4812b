"""One log line and two metrics for every request: its route, status and duration."""

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bento import metrics
from bento.middleware.paths import PAGE_PATH, PROBE_PATHS, route_label

log = logging.getLogger("precis.access")

NOT_LOGGED = PROBE_PATHS | {"/favicon.ico", PAGE_PATH}


class AccessLogMiddleware:
    """Logs requests to the API and counts all. Unknown paths and methods are not repeated; both are a caller's text."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 0
        started = time.monotonic()

        async def send_and_note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_note_status)
        finally:
            seconds = time.monotonic() - started
            route = route_label(scope["path"])
            metrics.requests.labels(route, str(status)).inc()
            metrics.request_duration.labels(route).observe(seconds)
            if route not in NOT_LOGGED:
                method = scope["method"] if scope["method"].isalpha() else None
                fields = {
                    "route": route, "method": method, "status": status, "duration_ms": round(seconds * 1000, 1)
                }  # fmt: skip
                log.info("Request answered", extra={"fields": fields})
