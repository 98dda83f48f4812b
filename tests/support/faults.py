"""Shared by the tests of a service under faults: requests that take long, raw connections, and what `/metrics` says."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import httpx
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.server import Server
from tests.conftest import gazette

KEY = "a-key-for-the-tests"
TEXT = gazette("validation")[0]["document"]
LONG = {"text": TEXT, "mode": "write", "max_new_tokens": 512, "min_new_tokens": 512, "long_text": "truncate"}
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


def metric(client: httpx.Client, name: str) -> float:
    """The value of `precis_NAME` in /metrics."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return next(s.value for family in families for s in family.samples if s.name == f"precis_{name}")


def idle(client: httpx.Client, seconds: float = 60) -> float:
    """Waits until nothing runs or waits; returns how long that took."""
    began = time.monotonic()
    names = ("rows_running", "queue_tokens", "streams_open", "requests_in_flight")
    while any(metric(client, name) for name in names):
        assert time.monotonic() - began < seconds, client.get("/metrics").text
        time.sleep(0.02)
    return time.monotonic() - began


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    """Waits until `true()`; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def send_raw(limited: Server, body: bytes, path: str = "/summarize", length: int | None = None) -> socket.socket:
    """A connection on which a request with the given body was sent; `length` overrides its Content-Length."""
    connection = socket.create_connection(("127.0.0.1", limited.port), timeout=30)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    connection.sendall(f"{head}Content-Length: {length or len(body)}\r\n\r\n".encode() + body)
    return connection


@contextlib.contextmanager
def livez_within_a_second(limited: Server) -> Iterator[None]:
    """Asks /livez while the block runs; fails if one answer took longer than a second and ten times its usual time."""
    stop, seconds = threading.Event(), []

    def ask() -> float:
        began = time.monotonic()
        assert httpx.get(limited.url + "/livez", timeout=60).status_code == 200
        return time.monotonic() - began

    def ask_on() -> None:
        seconds.append(ask())
        while not stop.wait(0.05):
            seconds.append(ask())

    usual = max(ask() for _ in range(5))
    thread = threading.Thread(target=ask_on)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert max(seconds) < max(1.0, 10 * usual)
