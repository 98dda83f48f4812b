"""Size and time limits of bodies, and the form in which the app gets them."""

import asyncio

import pytest
from starlette.middleware import Middleware

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
