"""The service under faulty clients and overload: it refuses in time, wastes no work, and answers afterwards."""

import asyncio
import json
import socket
import statistics
import time

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import KEY, gazette

TEXT = gazette("validation")[0]["document"]
LONG = {"text": TEXT, "max_new_tokens": 512, "min_new_tokens": 512, "long_text": "truncate"}
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
