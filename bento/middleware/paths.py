"""The paths of the service."""

STREAM_PATH = "/summarize_stream"
SUMMARIZE_PATHS = frozenset({"/summarize", "/summarize_batch", STREAM_PATH})
PROBE_PATHS = frozenset({"/livez", "/healthz", "/readyz", "/metrics"})
READ_PATHS = PROBE_PATHS | {"/", "/docs.json", "/schema.json", "/model", "/favicon.ico"}
PAGE_PATH = "/ui"
OTHER = "other"


def route_label(path: str) -> str:
    """The path as a label of metrics and logs: the path if it is ours, `/ui` for all of the page, else `other`."""
    if path in SUMMARIZE_PATHS or path in READ_PATHS:
        return path
    return PAGE_PATH if path == PAGE_PATH or path.startswith(PAGE_PATH + "/") else OTHER
