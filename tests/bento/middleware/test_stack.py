"""The order of the middlewares, seen from outside."""

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from bento.middleware.stack import middleware_stack
from bento.process.drain import Lifecycle
from bento.settings import ServiceSettings
from tests.bento.middleware.apps import app_with, client

KEY = "k" * 16


def send(method: str, path: str, lifecycle: Lifecycle | None = None, **headers: str):
    settings = ServiceSettings(api_keys=KEY, cors_origins="https://shop.example", max_body_bytes=1024)
    app = Starlette(middleware=middleware_stack(settings, lifecycle or Lifecycle()))

    async def run():
        async with client(app) as http:
            return await http.request(method, path, headers=headers, content=b"a" * 2000)

    return asyncio.run(run())


def test_errors_carry_the_id_security_and_cors_headers():
    response = send("POST", "/summarize", Origin="https://shop.example")
    assert response.status_code == 401
    assert response.headers["x-request-id"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["access-control-allow-origin"] == "https://shop.example"


def test_key_is_checked_before_the_state_of_the_server_and_that_before_the_body():
    draining = Lifecycle()
    draining.draining = True
    assert send("POST", "/summarize", draining).status_code == 401
    assert send("POST", "/summarize", draining, **{"X-API-Key": KEY}).status_code == 503


@pytest.mark.parametrize(
    ("proxies", "peer", "is_trusted"),
    [
        ("10.0.0.0/8, ::1", "10.0.0.1", True),
        ("10.0.0.0/8, ::1", "11.0.0.1", False),
        ("10.0.0.0/8, ::1", "::1", True),
        ("10.0.0.0/8, ::1", "::ffff:10.0.0.1", True),
        ("10.0.0.0/8, ::1", "::ffff:11.0.0.1", False),
        ("*", "11.0.0.1", True),
    ],
)
def test_address_of_the_client_is_what_a_trusted_proxy_says(proxies, peer, is_trusted):
    async def endpoint(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{request.url.scheme} {request.client.host}")

    settings = ServiceSettings(trusted_proxies=proxies)
    app = app_with(*middleware_stack(settings, Lifecycle()), endpoint=endpoint)

    async def run():
        async with client(app, peer) as http:
            headers = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}
            return await http.get("/", headers=headers)

    assert asyncio.run(run()).text == ("https 192.0.2.1" if is_trusted else f"http {peer}")


def test_unknown_path_has_the_form_of_errors():
    response = send("GET", "/nowhere")
    assert (response.status_code, response.json()["error"]["type"]) == (404, "not_found")
