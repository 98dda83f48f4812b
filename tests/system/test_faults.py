"""The service under faulty clients and overload: it refuses in time, wastes no work, and answers afterwards."""

import asyncio
import contextlib
import gzip
import json
import socket
import statistics
import threading
import time

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import KEY, gazette

TEXT = gazette("validation")[0]["document"]
LONG = {"text": TEXT, "mode": "write", "max_new_tokens": 512, "min_new_tokens": 512, "long_text": "truncate"}
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def client(limited):
    with httpx.Client(base_url=limited.url, timeout=150, headers=AUTHORIZED) as opened:
        yield opened


@pytest.fixture(autouse=True)
def answers_afterwards(client):
    """After each test the service becomes idle and answers."""
    yield
    idle(client)
    assert client.post("/summarize", json={"text": TEXT, "max_new_tokens": 3}).status_code == 200


def metric(client, name: str) -> float:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return next(s.value for family in families for s in family.samples if s.name == f"precis_{name}")


def idle(client, seconds: float = 20) -> float:
    """Waits until nothing runs or waits; returns how long that took."""
    began = time.monotonic()
    names = ("rows_running", "queue_tokens", "streams_open", "requests_in_flight")
    while any(metric(client, name) for name in names):
        assert time.monotonic() - began < seconds, client.get("/metrics").text
        time.sleep(0.02)
    return time.monotonic() - began


def until(true, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def send_raw(limited, body: bytes, path: str = "/summarize", length: int | None = None) -> socket.socket:
    """A connection on which a request with the given body was sent; `length` overrides its Content-Length."""
    connection = socket.create_connection(("127.0.0.1", limited.port), timeout=30)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    connection.sendall(f"{head}Content-Length: {length or len(body)}\r\n\r\n".encode() + body)
    return connection


def test_api_requires_a_key(limited, client):
    for headers in ({}, {"X-API-Key": "wrong" * 5}, {"Authorization": "Bearer"}, {"Authorization": f"Basic {KEY}"}):
        for path in ("/summarize", "/summarize_batch", "/summarize_stream"):
            response = httpx.post(limited.url + path, json={"text": "x"}, headers=headers)
            assert (response.status_code, response.json()["error"]["type"]) == (401, "no_key")
            assert response.headers["www-authenticate"] == "Bearer"
    assert httpx.get(limited.url + "/model").status_code == 401
    assert client.get("/model").status_code == 200
    assert httpx.get(limited.url + "/readyz").status_code == 200
    assert httpx.get(limited.url + "/ui").status_code == 404, "the page would bypass the keys"
    assert "security" in httpx.get(limited.url + "/docs.json").json()["paths"]["/summarize"]["post"]


def test_api_keys_change_without_a_restart(limited, client):
    new = {"X-API-Key": "the-new-key-of-today"}
    body = {"text": "x", "max_new_tokens": 1}
    assert httpx.post(limited.url + "/summarize", json=body, headers=new).status_code == 401
    (limited.home / "keys").write_text(f"{KEY}\n{new['X-API-Key']}\n")
    assert httpx.post(limited.url + "/summarize", json=body, headers=new).status_code == 200
    (limited.home / "keys").write_text(f"{KEY}\n")
    assert httpx.post(limited.url + "/summarize", json=body, headers=new).status_code == 401
    assert KEY not in limited.log.read_text()


def test_configured_origins_may_call_from_a_browser(limited):
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    response = httpx.options(limited.url + "/summarize", headers=asked)
    assert response.headers["access-control-allow-origin"] == "https://shop.example"
    refused = httpx.post(limited.url + "/summarize", json={}, headers={"Origin": "https://shop.example"})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://shop.example", (
        "a browser has to be allowed to read the error"
    )
    other = httpx.options(limited.url + "/summarize", headers={**asked, "Origin": "https://elsewhere.example"})
    assert "access-control-allow-origin" not in other.headers


def test_overload_is_refused_at_once_and_accepted_requests_finish(limited):
    async def everything() -> list[tuple[httpx.Response, float]]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=limited.url, headers=AUTHORIZED, timeout=150, limits=limits) as client:

            async def one(delay: float) -> tuple[httpx.Response, float]:
                await asyncio.sleep(delay)
                began = time.monotonic()
                response = await client.post("/summarize", json={**LONG, "max_new_tokens": 100, "min_new_tokens": 100})
                return response, time.monotonic() - began

            return await asyncio.gather(*(one(0.01 * number) for number in range(60)))

    results = asyncio.run(everything())
    refused = [(response, seconds) for response, seconds in results if response.status_code == 429]
    assert {response.status_code for response, _ in results} == {200, 429}
    assert len(results) - len(refused) >= 8 + 4
    for response, _ in refused:
        assert int(response.headers["retry-after"]) >= 1
        assert response.json()["error"]["type"] == "full"
    done = statistics.median(seconds for response, seconds in results if response.status_code == 200)
    assert statistics.median(seconds for _, seconds in refused) < min(done / 5, 1)


def test_disconnect_frees_the_rows_within_a_step(limited, client):
    began = time.monotonic()
    some = {**LONG, "num_beams": 8, "max_new_tokens": 64, "min_new_tokens": 64}
    assert client.post("/summarize", json=some).status_code == 200
    eighth = time.monotonic() - began  # of the work below, on this machine
    for path in ("/summarize", "/summarize_stream"):
        connection = send_raw(limited, json.dumps({**LONG, "num_beams": 8}).encode(), path)
        until(lambda: metric(client, "rows_running") == 8)
        connection.close()
        assert idle(client) < max(0.5, 2 * eighth)


def test_streams_per_client_are_limited(limited, client):
    body = json.dumps(LONG).encode()
    streams = [send_raw(limited, body, "/summarize_stream") for _ in range(2)]
    until(lambda: metric(client, "streams_open") == 2)
    response = client.post("/summarize_stream", json=LONG)
    assert (response.status_code, response.json()["error"]["type"]) == (429, "too_many_streams")
    assert int(response.headers["retry-after"]) >= 1
    streams[0].close()
    until(lambda: metric(client, "streams_open") == 1)
    assert client.post("/summarize_stream", json={"text": "x", "max_new_tokens": 1}).status_code == 200
    streams[1].close()


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
        connection.settimeout(10)
        assert b"408" in connection.recv(4096).split(b"\r\n")[0]
        connection.close()
    assert 1.4 < time.monotonic() - began < 8


@pytest.mark.parametrize("chunked", [False, True])
def test_body_of_60_megabytes_gets_413_without_being_stored(limited, chunked):
    block = b"a" * 65536
    head = f"POST /summarize HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    head += "Transfer-Encoding: chunked\r\n\r\n" if chunked else f"Content-Length: {60 << 20}\r\n\r\n"
    before = limited.worker.memory_info().rss
    with socket.create_connection(("127.0.0.1", limited.port), timeout=30) as connection:
        connection.sendall(head.encode())
        for _ in range((60 << 20) // len(block)):
            connection.sendall(b"10000\r\n" + block + b"\r\n" if chunked else block)
        response = connection.recv(4096)
    assert b" 413 " in response.split(b"\r\n")[0]
    assert b'"type":"too_large"' in response
    assert limited.worker.memory_info().rss - before < 30 << 20


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        (b'{"long_text": "truncate", "text": "' + b"a" * 100_000 + b'"}', {200}),
        (json.dumps({"text": "👩‍👩‍👧🎉" * 100}).encode(), {200}),
        (json.dumps({"text": "وافق المجلس على إصلاح الجسر القديم قبل الشتاء. " * 10}).encode(), {200}),
        (json.dumps({"text": "\u202e\u0000\ufffe x"}).encode(), {200}),
        (b'{"text": "\xff\xfe\xfa"}', {400}),
        (b"[" * 100_000, {400}),
        (b'{"text": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", {400, 422}),
        (b'{"text": "x", "deep": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}", {400, 422}),
        (json.dumps({"text": " \n\u00a0\u2003" * 1000}).encode(), {422}),
        (b'{"text": "x", "max_new_tokens": 1' + b"0" * 5000 + b"}", {400, 422}),
        (b'{"text": "x", "text": 3}', {422}),
        (b"", {400}),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else "",
)
def test_unusual_texts_are_summarized_or_refused(client, body, statuses):
    for path in ("/summarize", "/summarize_stream"):
        response = client.post(path, content=body, headers={"Content-Type": "text/plain"})
        assert response.status_code in statuses
        if response.status_code >= 400:
            assert {"type", "message"} <= response.json()["error"].keys()


@contextlib.contextmanager
def livez_within_a_second(limited):
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


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("a" + "\u0301" * 16_000 + "\u0316" * 16_000, 200),
        ("\ufdfa" * 80_000, 422),
        ("a. " * 40_000, 200),
        ("hundred " * 2200, 200),
    ],
    ids=["combining marks", "characters of many tokens", "many sentences", "number words"],
)
def test_hostile_texts_leave_the_event_loop_to_others(limited, client, text, status):
    body = {"text": text, "evidence": True, "long_text": "truncate", "max_new_tokens": 20}
    before = limited.worker.memory_info().rss
    with livez_within_a_second(limited):
        assert client.post("/summarize", json=body).status_code == status
    body.pop("text")
    results = client.post("/summarize_batch", json={**body, "texts": ["fine.", text]}).json()["results"]
    assert ["summary" in result for result in results] == [True, status == 200]
    if status == 200:
        stream = client.post("/summarize_stream", json={**body, "text": text}).text
        assert stream.rstrip().rpartition("event: ")[2].startswith("done")
    assert limited.worker.memory_info().rss - before < 200 << 20


def test_long_text_keeps_nobody_out(limited, client):
    body = json.dumps({"text": TEXT * 150, "mode": "write", "max_new_tokens": 20}).encode()
    long = send_raw(limited, body)
    until(lambda: metric(client, "rows_running") > 0)
    with livez_within_a_second(limited):
        answers = [client.post("/summarize", json={"text": "A council met.", "max_new_tokens": 3}) for _ in range(3)]
    assert [response.status_code for response in answers] == [200] * 3
    assert metric(client, "queue_tokens") > 0, "it still runs"
    long.close()


def test_work_that_cannot_be_done_in_time_is_refused(limited, client):
    """Of many requests with eight beams only those are accepted that are finished in time; the others know at once."""
    body = {**LONG, "num_beams": 8, "no_repeat_ngram_size": 0, "timeout_ms": 11_000}
    for _ in range(3):  # the costs are measured
        client.post("/summarize", json={**LONG, "num_beams": 8, "max_new_tokens": 100, "min_new_tokens": 100})

    async def everything() -> list[tuple[int, float, str | None]]:
        async with httpx.AsyncClient(base_url=limited.url, headers=AUTHORIZED, timeout=60) as http:

            async def one() -> tuple[int, float, str | None]:
                began = time.monotonic()
                response = await http.post("/summarize", json=body)
                return response.status_code, time.monotonic() - began, response.headers.get("retry-after")

            return await asyncio.gather(*(one() for _ in range(40)))

    answers = asyncio.run(everything())
    refused = [(seconds, retry) for status, seconds, retry in answers if status in (429, 422)]
    assert {status for status, _, _ in answers} <= {200, 422, 429, 504}
    assert len(refused) > 8
    assert statistics.median(seconds for seconds, _ in refused) < 3
    assert all(retry is None or 1 <= int(retry) <= 11 for _, retry in refused)


def test_texts_of_one_caller_keep_no_other_caller_from_the_tokenizer(limited, client):
    """Texts that take a second each wait for a thread; that of another caller takes its turn."""
    other = "a-key-for-somebody-else"
    (limited.home / "keys").write_text(f"{KEY}\n{other}\n")
    slow = json.dumps({"text": "\ufdfa" * 20_000, "long_text": "truncate", "max_new_tokens": 1}).encode()
    waiting = [send_raw(limited, slow) for _ in range(30)]
    until(lambda: metric(client, "requests_in_flight") >= 30)
    with livez_within_a_second(limited):
        body = {"text": TEXT * 4, "long_text": "truncate", "max_new_tokens": 1}
        response = httpx.post(limited.url + "/summarize", json=body, headers={"X-API-Key": other}, timeout=150)
    assert response.status_code == 200
    assert metric(client, "requests_in_flight") > 15, "the others still wait"
    for connection in waiting:
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


def test_half_sent_requests_keep_nobody_out(limited, client):
    half_sent = [socket.create_connection(("127.0.0.1", limited.port), timeout=30) for _ in range(200)]
    for connection in half_sent:
        connection.sendall(b"POST /summarize HTTP/1.1\r\nHost:")
    with livez_within_a_second(limited):
        assert client.post("/summarize", json={"text": "A council met.", "max_new_tokens": 3}).status_code == 200
    for connection in half_sent:
        connection.close()


def test_websocket_is_refused(limited):
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n"
    with socket.create_connection(("127.0.0.1", limited.port), timeout=10) as connection:
        connection.sendall(b"GET /ui HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n")
        response = connection.recv(4096)
    assert response.startswith(b"HTTP/1.1 501 ")
    assert b'{"error":{"type":"bad_request"' in response


def test_key_in_a_trailer_is_no_key(limited):
    body = b'{"text": "x", "max_new_tokens": 1}'
    head = b"POST /summarize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", limited.port), timeout=10) as connection:
        connection.sendall(head + b"%x\r\n" % len(body) + body + b"\r\n0\r\nX-API-Key: " + KEY.encode() + b"\r\n\r\n")
        assert b" 401 " in connection.recv(4096).split(b"\r\n")[0]


def test_body_that_is_compressed_or_in_another_encoding_is_refused_with_the_reason(client):
    packed = client.post("/summarize", content=gzip.compress(b'{"text": "x"}'), headers={"Content-Encoding": "gzip"})
    assert (packed.status_code, packed.json()["error"]["type"]) == (415, "unsupported_encoding")
    for encoding in ("utf-16", "latin-1"):
        response = client.post("/summarize", content='{"text": "Brücke"}'.encode(encoding))
        assert response.status_code == 400
        assert "UTF-8" in response.json()["error"]["message"]


def disconnect_clients(limited, client, count: int) -> None:
    """Clients that disconnect right after their request; the service's memory must not grow."""
    body = json.dumps({**LONG, "max_new_tokens": 200}).encode()
    for _ in range(20):
        send_raw(limited, body).close()
    idle(client, 60)
    before = limited.worker.memory_info().rss
    for number in range(count):
        send_raw(limited, body, ("/summarize", "/summarize_stream")[number % 2]).close()
    assert idle(client, 60) < 10
    assert limited.worker.memory_info().rss - before < 40 << 20


def test_disconnected_clients_leave_nothing_behind(limited, client):
    disconnect_clients(limited, client, 60)


@pytest.mark.slow
def test_five_hundred_disconnected_clients_leave_nothing_behind(limited, client):
    disconnect_clients(limited, client, 500)


@pytest.mark.slow
def test_word_of_100_000_letters_is_summarized_in_chunks(client):
    response = client.post("/summarize", json={"text": "a" * 100_000, "max_new_tokens": 4}).json()
    assert response["chunks"] > 100
    assert not response["truncated"]
