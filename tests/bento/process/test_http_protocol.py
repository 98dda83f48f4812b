"""Connections by themselves: a small app behind the protocol, spoken to through sockets."""

import asyncio
import contextlib
import json
import socket
import threading
import time

import pytest
import uvicorn

from bento.process import http_protocol
from bento.process.http_protocol import MAX_HEADER_BYTES, MAX_HEADERS, BoundedHttpProtocol

LARGE = 64_000_000
GET = b"GET /a HTTP/1.1\r\nHost: x\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
MINUTE_SECONDS = 60.0  # in which the slowest machine does what is waited for

running: list[None] = []  # requests to /slow that have arrived
may_answer = threading.Event()  # them
large_ended = threading.Event()  # the response to /large, read or not


async def app(scope, receive, send) -> None:
    """Answers with the headers it got and the length of the body; /slow once it `may_answer`, /large with 64 MB."""
    size, more = 0, True
    while more and scope["path"] != "/ignore":
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    body = json.dumps({"headers": headers, "size": size}).encode()
    if scope["path"] == "/slow":
        running.append(None)
        while not may_answer.is_set():
            await asyncio.sleep(0.01)
    if scope["path"] == "/large":
        body = b"a" * LARGE
    head = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b""})  # once the client has read most, or is gone
    if scope["path"] == "/large":
        large_ended.set()


@pytest.fixture
def address(monkeypatch):
    """A server whose headers have a second to arrive, its responses to be read, and that takes four connections."""
    monkeypatch.setattr(http_protocol, "HEADER_SECONDS", 1.0)
    monkeypatch.setattr(http_protocol, "WRITE_SECONDS", 1.0)
    monkeypatch.setattr(BoundedHttpProtocol, "max_connections", 4)
    running.clear()
    may_answer.clear()
    large_ended.clear()
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http=BoundedHttpProtocol, lifespan="off", log_config=None, access_log=False, timeout_keep_alive=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield listening.getsockname()
    may_answer.set()
    server.should_exit = True
    thread.join()


def opened(address, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(address, timeout=MINUTE_SECONDS)
    connection.sendall(sent)
    return connection


def answer(connection: socket.socket) -> tuple[int, dict]:
    """The status and body of the next response; (0, {}) if the connection is closed without one."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        if not (byte := connection.recv(1)):
            return 0, {}
        head += byte
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    body = connection.recv(int(fields[b"content-length"]), socket.MSG_WAITALL)
    return int(head.split()[1]), json.loads(body)


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def send_until_closed(connection: socket.socket, block: bytes, count: int, pause: float = 0.0) -> bool:
    """Whether the server closes the connection while `count` blocks are sent."""
    try:
        for _ in range(count):
            connection.sendall(block)
            time.sleep(pause)
    except OSError:
        return True
    return False


def test_requests_on_one_connection_are_answered(address):
    with opened(address) as connection:
        for size in (0, 10, 300_000):
            connection.sendall(GET + b"Content-Length: %d\r\n\r\n" % size + b"a" * size)
            assert answer(connection)[1]["size"] == size
        connection.sendall((GET + b"X-N: 1\r\n\r\n") + (GET + b"X-N: 2\r\n\r\n"))
        assert [answer(connection)[1]["headers"]["x-n"] for _ in range(2)] == ["1", "2"]


@pytest.mark.parametrize(
    "head",
    [
        GET + b"X-A: " + b"a" * (2 * MAX_HEADER_BYTES),
        GET + b"X-A: " + b"a" * MAX_HEADER_BYTES + b"\r\n\r\n",
        GET + b"".join(b"X-%04d: %s\r\n" % (number, b"a" * 50) for number in range(2000)),
        GET + b"a:\r\n" * (MAX_HEADERS + 1) + b"\r\n",
        b"GET /" + b"a" * 2 * MAX_HEADER_BYTES,
        b"GET /" + b"a" * MAX_HEADER_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["one, unfinished", "one, finished", "many", "many empty", "path, unfinished", "path, finished"],
)
def test_large_headers_get_431(address, head):
    with opened(address, head) as connection:
        status, body = answer(connection)
        assert (status, body["error"]["type"]) == (431, "headers_too_large")
        assert is_closed(connection)


def test_headers_without_end_are_not_collected(address):
    with opened(address, GET) as connection:
        assert send_until_closed(connection, b"X-A: " + b"a" * 1_000_000 + b"\r\n", 100)


def test_headers_below_the_bound_are_taken(address):
    with opened(address, GET + b"X-A: " + b"a" * (MAX_HEADER_BYTES - 1000) + b"\r\n\r\n") as connection:
        assert len(answer(connection)[1]["headers"]["x-a"]) == MAX_HEADER_BYTES - 1000


def test_half_sent_request_gets_408_and_idle_connections_are_closed(address):
    with opened(address, GET) as half_sent, opened(address) as idle, opened(address, GET + b"\r\n") as kept:
        assert answer(kept)[0] == 200
        status, body = answer(half_sent)
        assert (status, body["error"]["type"]) == (408, "timeout")
        assert answer(idle) == (0, {})
        assert is_closed(kept)


def test_bytes_that_trickle_in_do_not_keep_a_connection(address):
    """Neither between requests nor behind an answer to a request whose body nobody reads."""
    ignored = b"POST /ignore HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    for first in (GET + b"\r\n", ignored):
        with opened(address, first) as connection:
            assert answer(connection)[0] == 200
            assert send_until_closed(connection, b"G", 300, pause=0.1)


def test_trailers_are_no_headers(address):
    chunked = GET + b"Transfer-Encoding: chunked\r\nX-Late: no\r\n\r\n2\r\nab\r\n0\r\n"
    with opened(address, chunked + b"X-Late: yes\r\nX-Api-Key: k\r\n\r\n" + GET + b"\r\n") as connection:
        headers = answer(connection)[1]["headers"]
        assert (headers["x-late"], "x-api-key" in headers) == ("no", False)
    with opened(address, chunked + b"X-Late: ") as connection:
        assert send_until_closed(connection, b"a" * MAX_HEADER_BYTES, 100, pause=0.01)


def test_a_new_connection_takes_the_place_of_the_one_that_waited_longest(address):
    half_sent = [opened(address, GET) for _ in range(4)]
    with opened(address, GET + b"\r\n") as new:
        assert answer(new)[0] == 200
    assert answer(half_sent[0])[0] == 408
    for connection in half_sent:
        connection.close()


def test_unfinished_bodies_and_unread_responses_keep_nobody_out(address):
    slow = [opened(address, GET + b"Content-Length: 5\r\n\r\nab"), unread(address)]
    slow += [opened(address, SLOW), opened(address, SLOW)]
    for _ in range(2):
        with opened(address, GET + b"\r\n") as new:
            assert answer(new)[0] == 200
            slow.append(opened(address, SLOW))
    assert answer(slow[0])[0] == 408
    may_answer.set()
    assert [answer(connection)[0] for connection in slow[2:]] == [200] * 4
    for connection in slow:
        connection.close()


def unread(address) -> socket.socket:
    """A connection on which a large response was asked for, with little room for it."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(MINUTE_SECONDS)
    connection.connect(address)
    connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    return connection


def test_response_that_is_not_read_ends_its_connection(address):
    with unread(address) as connection:
        assert large_ended.wait(MINUTE_SECONDS)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while block := connection.recv(1 << 20):
                received += len(block)
        assert received < LARGE


def test_no_more_connections_than_the_bound(address):
    slow = [opened(address, SLOW) for _ in range(4)]
    end = time.monotonic() + MINUTE_SECONDS
    while len(running) < 4:
        assert time.monotonic() < end
        time.sleep(0.01)
    with opened(address) as new:
        status, body = answer(new)
        assert (status, body["error"]["type"]) == (503, "full")
    may_answer.set()
    assert [answer(connection)[0] for connection in slow] == [200] * 4
    for connection in slow:
        connection.close()


def test_body_that_is_no_http_gets_400(address):
    chunked = GET + b"Transfer-Encoding: chunked\r\n\r\n"
    for first, broken in ((chunked, b"ffffffffffffffffff\r\n"), (chunked + b"2\r\nab\r\n", b"no chunk\r\n")):
        with opened(address, first) as connection:
            time.sleep(0.1)
            connection.sendall(broken)
            assert answer(connection)[0] == 400
            assert is_closed(connection)


def test_websockets_and_what_is_not_http_are_refused_in_the_form_of_errors(address):
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    with opened(address, GET + upgrade + b"Sec-WebSocket-Version: 13\r\n\r\n") as connection:
        assert answer(connection)[0] == 501
        assert is_closed(connection)
    with opened(address, b"\x16\x03\x01 hello\r\n\r\n") as connection:
        status, body = answer(connection)
        assert (status, body["error"]["type"]) == (400, "bad_request")


def test_as_many_connections_as_the_process_may_open_files():
    assert 16 <= http_protocol.connection_limit() <= http_protocol.MAX_CONNECTIONS
