"""Size and time limits of bodies, and the form in which the app gets them."""

import asyncio

import pytest
from starlette.middleware import Middleware

from bento.middleware import body_limit
from bento.middleware.body_limit import BodyLimitMiddleware
from tests.bento.middleware.apps import app_with, client


def send(content, path: str = "/summarize", **headers: str):
    app = app_with(Middleware(BodyLimitMiddleware, max_bytes=1024, max_seconds=0.2))

    async def run():
        async with client(app) as http:
            return await http.post(path, content=content, headers=headers)

    return asyncio.run(run())


async def chunks(count: int, seconds: float = 0.0):
    for _ in range(count):
        yield b"a" * 256
        await asyncio.sleep(seconds)


@pytest.mark.parametrize("content", [b"a" * 1024, chunks(4)], ids=["plain", "chunked"])
def test_body_up_to_the_limit_arrives_whole_and_as_json(content):
    response = send(content, **{"Content-Type": "multipart/form-data; boundary=x"})
    assert response.json() == {"body": "a" * 1024, "content_type": "application/json"}


@pytest.mark.parametrize("content", [b"a" * 1025, chunks(5)], ids=["plain", "chunked"])
def test_larger_body_gets_413(content):
    response = send(content)
    assert (response.status_code, response.json()["error"]["type"]) == (413, "too_large")
    assert "1,024 bytes" in response.json()["error"]["message"]


def test_slow_body_gets_408_and_a_closed_connection():
    response = send(chunks(3, 0.15))
    assert (response.status_code, response.headers["connection"]) == (408, "close")


def test_empty_body_gets_400():
    response = send(b"")
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_json")


def test_other_paths_have_no_limit_here():
    assert len(send(b"a" * 2000, "/model").json()["body"]) == 2000


@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP, identity", "x" * 50])
def test_compressed_body_gets_415_and_is_not_read(encoding):
    response = send(chunks(3, 60), **{"Content-Encoding": encoding})
    assert (response.status_code, response.json()["error"]["type"]) == (415, "unsupported_encoding")
    assert "Content-Encoding" in response.json()["error"]["message"]
    assert send(b"a", **{"Content-Encoding": "identity"}).status_code == 200


def test_transfer_coding_other_than_chunked_gets_415():
    """The protocol unpacks chunks only: of `gzip, chunked` it would hand on what is packed."""
    for coding in ("gzip, chunked", "GZIP", "deflate,chunked"):
        response = send(b"a", **{"Transfer-Encoding": coding})
        assert (response.status_code, response.json()["error"]["type"]) == (415, "unsupported_encoding")
    assert send(b"a", **{"Transfer-Encoding": "Chunked"}).status_code == 200


def test_second_content_encoding_counts_as_well():
    headers = [("Content-Encoding", "identity"), ("Content-Encoding", "gzip")]

    async def run():
        async with client(app_with(Middleware(BodyLimitMiddleware, max_bytes=1024, max_seconds=0.2))) as http:
            return await http.post("/summarize", content=b"a", headers=headers)

    assert asyncio.run(run()).status_code == 415


def test_bodies_are_bounded_in_sum_and_by_caller(monkeypatch):
    monkeypatch.setattr(body_limit, "MIN_TOTAL_BYTES", 4000)
    monkeypatch.setattr(body_limit, "UNCOUNTED_BYTES", 100)
    app = app_with(Middleware(BodyLimitMiddleware, max_bytes=1000, max_seconds=10))
    finish = asyncio.Event()

    async def unfinished(size: int):
        yield b"a" * size
        await finish.wait()

    async def post(caller: str, content):
        async with client(app, caller) as http:
            return (await http.post("/summarize", content=content)).status_code

    async def run() -> None:
        one = [asyncio.create_task(post("10.0.0.1", unfinished(900))) for _ in range(4)]
        await asyncio.sleep(0.2)
        assert [task.done() for task in one].count(True) == 2, "800 of each count, and a caller may hold 2000"
        assert await post("10.0.0.1", b"a" * 900) == 429
        assert await post("10.0.0.1", b"a" * 100) == 200, "small ones are not counted"
        two = [asyncio.create_task(post("2001:db8::1", unfinished(900))) for _ in range(2)]
        await asyncio.sleep(0.2)
        assert await post("2001:db8::2", b"a" * 900) == 429, "an IPv6 network of 64 bits is one caller"
        three = asyncio.create_task(post("10.0.0.3", unfinished(900)))
        await asyncio.sleep(0.2)
        assert await post("10.0.0.4", b"a" * 900) == 429, "4000 in all"
        finish.set()
        assert sorted(await asyncio.gather(*one, *two, three)) == [200] * 5 + [429] * 2
        assert await post("10.0.0.4", b"a" * 900) == 200, "they are free again"

    asyncio.run(run())
