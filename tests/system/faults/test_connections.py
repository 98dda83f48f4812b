"""Clients that disconnect, stall, do not read or never finish a request: they cost little and block no other."""

import contextlib
import json
import socket
import time

import pytest

from tests.support.faults import LONG, TEXT, idle, livez_within_a_second, metric, send_raw, until


def test_disconnect_frees_the_rows_within_a_step(limited, client):
    began = time.monotonic()
    some = {**LONG, "num_beams": 8, "max_new_tokens": 64, "min_new_tokens": 64}
    assert client.post("/summarize", json=some).status_code == 200
    eighth = time.monotonic() - began  # of the work below, on this machine

    def seconds_until_free(path: str) -> float:
        connection = send_raw(limited, json.dumps({**LONG, "num_beams": 8}).encode(), path)
        until(lambda: metric(client, "rows_running") == 8)
        connection.close()
        return idle(client)

    for path in ("/summarize", "/summarize_stream"):
        assert min(seconds_until_free(path) for _ in range(3)) < max(0.5, 2 * eighth)


def test_client_that_does_not_read_its_stream_blocks_no_other(limited, client):
    stuck = send_raw(
        limited,
        json.dumps({**LONG, "max_new_tokens": 200, "min_new_tokens": 200}).encode(),
        "/summarize_stream",
    )
    assert client.post("/summarize", json={"text": TEXT, "max_new_tokens": 3}).status_code == 200
    idle(client)
    stuck.close()


def test_slow_body_gets_408(limited):
    began = time.monotonic()
    slow = [send_raw(limited, b'{"text": "', length=1000) for _ in range(20)]
    for connection in slow:
        connection.settimeout(60)
        assert b"408" in connection.recv(4096).split(b"\r\n")[0]
        connection.close()
    assert time.monotonic() - began > 1.4


def test_half_sent_requests_keep_nobody_out(limited, client):
    half_sent = [socket.create_connection(("127.0.0.1", limited.port), timeout=30) for _ in range(200)]
    for connection in half_sent:
        connection.sendall(b"POST /summarize HTTP/1.1\r\nHost:")
    with livez_within_a_second(limited):
        assert client.post("/summarize", json={"text": "A council met.", "max_new_tokens": 3}).status_code == 200
    for connection in half_sent:
        connection.close()


def test_endless_headers_are_cut_off(limited):
    before = limited.worker.memory_info().rss
    block = b"".join(b"x-%06d: %s\r\n" % (number, b"a" * 1000) for number in range(1000))
    with socket.create_connection(("127.0.0.1", limited.port), timeout=30) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
        with pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012  it may come at any of them
            for _ in range(60):
                connection.sendall(block)
    assert limited.worker.memory_info().rss - before < 10 << 20


def test_unfinished_bodies_are_bounded_in_sum(limited):
    before = limited.worker.memory_info().rss
    body = b'{"text": "' + b"a" * 1_500_000
    connections = []
    with livez_within_a_second(limited):
        for _ in range(80):
            with contextlib.suppress(OSError):
                connections.append(send_raw(limited, body, length=2_000_000))
        assert limited.worker.memory_info().rss - before < 130 << 20
    for connection in connections:
        connection.close()


def disconnect_clients(limited, client, count: int) -> None:
    """Clients that disconnect right after their request; the service's memory must not grow."""
    body = json.dumps({**LONG, "max_new_tokens": 200}).encode()
    for _ in range(20):
        send_raw(limited, body).close()
    idle(client)
    before = limited.worker.memory_info().rss
    for number in range(count):
        send_raw(limited, body, ("/summarize", "/summarize_stream")[number % 2]).close()
    idle(client)
    assert limited.worker.memory_info().rss - before < 40 << 20


def test_disconnected_clients_leave_nothing_behind(limited, client):
    disconnect_clients(limited, client, 60)


@pytest.mark.slow
def test_five_hundred_disconnected_clients_leave_nothing_behind(limited, client):
    disconnect_clients(limited, client, 500)
