"""Faults of the service's own processes: a scheduler that dies, a worker that is frozen, a terminal that hangs up."""

import contextlib
import signal
import socket
import time

import httpx
import pytest

from benchmarks.server import ROOT, START, Server

# Imported by every Python process at its start; makes the scheduler fail, outside its guarded part, once a file exists.
FAILURE = """
import os, threading, time
def fail():
    while not os.path.exists({trigger!r}):
        time.sleep(0.02)
    from precis.scheduling.scheduler import Scheduler
    os.remove({trigger!r})
    def raises(_):
        raise ValueError("a fault inside")
    Scheduler._expire_deadlines = raises
threading.Thread(target=fail, daemon=True).start()
"""
BODY = {"text": "The council met on Tuesday. It agreed to mend the bridge.", "passthrough": False, "max_new_tokens": 2}


@pytest.fixture
def start(embedded, tmp_path):
    """Starts a service without the page that stops at once when it is asked to."""
    with contextlib.ExitStack() as stack:

        def start(**variables: str) -> Server:
            settings = {"PRECIS_PAGE": "false", "PRECIS_LINGER_SECONDS": "0", "PRECIS_GRACE_SECONDS": "0", **variables}
            server = stack.enter_context(Server(START, ROOT, embedded / "bundle", tmp_path / "home", settings))
            server.wait_until_ready()
            return server

        yield start


def is_ready(server: Server) -> bool:
    try:
        return httpx.get(server.url + "/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def until(condition, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def assert_port_is_free(server: Server) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=5)


def test_dead_scheduler_ends_readiness_and_another_worker_serves(start, tmp_path):
    trigger = tmp_path / "fail"
    (tmp_path / "sitecustomize.py").write_text(FAILURE.format(trigger=str(trigger)))
    server = start(PYTHONPATH=str(tmp_path))
    first = server.worker
    trigger.touch()
    until(lambda: not trigger.exists(), 60)
    answer = httpx.post(server.url + "/summarize", json=BODY, timeout=60)  # wakes the scheduler, which fails
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "stopping")
    assert not (is_ready(server) and first.is_running()), "from the first failed request on"
    first.wait(60)
    until(lambda: is_ready(server), 120)
    assert httpx.post(server.url + "/summarize", json=BODY, timeout=60).status_code == 200
    assert "The scheduler failed" in server.log.read_text()


def test_frozen_worker_is_killed_after_its_time_to_stop(start):
    server = start()
    worker = server.worker
    worker.suspend()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(120) == 1
    assert not worker.is_running()
    assert_port_is_free(server)
    assert "it is killed" in server.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_end_of_the_supervisor_leaves_nothing_on_the_port(start, number):
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("The test run ignores the signal, as under nohup, and so does what it starts.")
    server = start()
    worker = server.worker
    server.process.send_signal(number)
    server.process.wait(120)
    worker.wait(120)
    assert_port_is_free(server)
