"""Headers that protect pages, and headers that are removed."""

import asyncio

import pytest
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse

from bento.middleware.security_headers import SecurityHeadersMiddleware
from tests.bento.middleware.apps import app_with, client


async def telling(request):
    return PlainTextResponse("", headers={"Server": "x", "X-BentoML-Request-ID": "1", "X-Other": "stays"})


def send(path: str):
    async def run():
        async with client(app_with(Middleware(SecurityHeadersMiddleware), endpoint=telling)) as http:
            return await http.get(path)

    return asyncio.run(run()).headers


@pytest.mark.parametrize("path", ["/", "/ui", "/model", "/nowhere"])
def test_software_is_not_named_and_content_types_are_not_guessed(path):
    headers = send(path)
    assert not {"server", "x-bentoml-request-id"} & headers.keys()
    assert headers["x-content-type-options"] == "nosniff"
    assert path == "/nowhere" or headers["x-other"] == "stays"


@pytest.mark.parametrize(("path", "scripts"), [("/", False), ("/ui", True)])
def test_pages_have_a_content_security_policy(path, scripts):
    headers = send(path)
    assert ("script-src" in headers["content-security-policy"]) == scripts
    assert (headers["x-frame-options"], headers["referrer-policy"]) == ("DENY", "no-referrer")


def test_api_responses_have_no_policy():
    assert "content-security-policy" not in send("/model")
