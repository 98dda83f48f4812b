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
PAUSE_SECONDS = 15.0  # longer than a machine may pause
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


def metric(client: httpx.Client, name: str) -> float:
    """The value of `precis_NAME` in /metrics."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return next(s.value for family in families for s in family.samples if s.name == f"precis_{name}")


def idle(client: httpx.Client, seconds: float = 150) -> float:
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
    """Asks /livez while the block runs; fails if one answer took longer than a second and ten times its usual time.

    Where the service computes less than that, it is the machine that has paused, unless it takes PAUSE_SECONDS.
    """
    stop, seconds, worker = threading.Event(), [], limited.worker

    def computed() -> float:
        times = worker.cpu_times()
        return times.user + times.system

    def ask(client: httpx.Client) -> float:
        began, before = time.monotonic(), computed()
        assert client.get("/livez").status_code == 200
        elapsed = time.monotonic() - began
        return elapsed if elapsed > PAUSE_SECONDS else min(elapsed, computed() - before)

    def ask_on() -> None:
        with httpx.Client(base_url=limited.url, timeout=150, headers={"Connection": "close"}) as client:
            seconds.append(ask(client))
            while not stop.wait(0.05):
                seconds.append(ask(client))

    with httpx.Client(base_url=limited.url, timeout=150, headers={"Connection": "close"}) as client:
        usual = max(ask(client) for _ in range(5))
    thread = threading.Thread(target=ask_on)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert max(seconds) < max(1.0, 10 * usual)
