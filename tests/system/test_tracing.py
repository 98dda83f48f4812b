"""OpenTelemetry: spans go to the configured collector, and to none without one."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.server import START, Server
from tests.conftest import ROOT

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET = "xyzzyplugh"


@pytest.fixture
def collector():
    """A collector of OTLP over HTTP: its address and the bodies that it received."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    server.server_close()


def run_service(bundle, home, variables: dict[str, str]) -> None:
    """Starts a service, sends it some requests, and stops it."""
    running = Server(START, ROOT, bundle, home, {"PRECIS_PAGE": "false", **variables})
    try:
        running.wait_until_ready()
        caller = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        body = {"text": SECRET, "max_new_tokens": 2}
        assert httpx.post(running.url + "/summarize", json=body, headers=caller, timeout=60).status_code == 200
        for path in ("/livez", "/readyz", "/metrics"):
            assert httpx.get(running.url + path).status_code == 200
    finally:
        running.stop()


@pytest.mark.slow
def test_request_is_a_span_of_the_callers_trace_without_text(tiny_run, tmp_path, collector):
    address, bodies = collector
    run_service(tiny_run / "bundle", tmp_path, {"PRECIS_OTLP_ENDPOINT": f"{address}/v1/traces"})
    spans = [
        span
        for body in bodies
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert "/summarize" in {span.name.rsplit(" ")[-1] for span in spans}
    ours = [span for span in spans if span.trace_id.hex() == TRACE]
    assert PARENT in {span.parent_span_id.hex() for span in ours}
    for path in (b"livez", b"readyz", b"metrics", SECRET.encode()):
        assert not any(path in body for body in bodies)


@pytest.mark.slow
def test_nothing_is_sent_without_a_configured_collector(tiny_run, tmp_path, collector):
    """Not even if a variable of OpenTelemetry itself names one."""
    address, bodies = collector
    run_service(tiny_run / "bundle", tmp_path, {"OTEL_EXPORTER_OTLP_ENDPOINT": address})
    assert bodies == []
