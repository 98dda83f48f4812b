"""The paths of the service: 404 for all others, and labels for middlewares that treat paths differently."""

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

STREAM_PATH = "/summarize_stream"
SUMMARIZE_PATHS = frozenset({"/summarize", "/summarize_batch", STREAM_PATH})
PROBE_PATHS = frozenset({"/livez", "/healthz", "/readyz", "/metrics"})
READ_PATHS = PROBE_PATHS | {"/", "/docs.json", "/schema.json", "/model", "/favicon.ico"}
PAGE_PATH = "/ui"
OTHER = "other"


def is_summarize_request(scope: Scope) -> bool:
    """Whether this is a request for summaries. Other methods on these paths get 405 from the router."""
    return scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in SUMMARIZE_PATHS


def route_label(path: str) -> str:
    """The path as a label of metrics and logs: the path if it is ours, `/ui` for all of the page, else `other`."""
    if path in SUMMARIZE_PATHS or path in READ_PATHS:
        return path
    return PAGE_PATH if path == PAGE_PATH or path.startswith(PAGE_PATH + "/") else OTHER


class KnownPathsMiddleware:
    """Answers 404 for paths that are not the service's, so that BentoML's own ones (static files, say) stay closed.

    WebSocket connections are refused; no path takes them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http" and route_label(scope["path"]) == OTHER:
            await Response(status_code=404)(scope, receive, send)
        else:
            await self.app(scope, receive, send)
