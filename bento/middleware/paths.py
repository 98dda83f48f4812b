"""The paths of the service, for middlewares that treat them differently."""

from starlette.types import Scope

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
