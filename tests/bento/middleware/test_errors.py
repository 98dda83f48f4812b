"""The form of errors, whoever raises or words them."""

import asyncio
import json
import logging

import pytest
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse

from bento.errors import ServiceError
from bento.middleware.errors import ErrorMiddleware
from tests.bento.middleware.apps import app_with, client, fail


def send(endpoint, path: str = "/summarize"):
    async def run():
        async with client(app_with(endpoint=endpoint)) as http:
            return await http.get(path)

    return asyncio.run(run())


def raising(error: BaseException):
    async def endpoint(request):
        raise error

    return endpoint


@pytest.mark.parametrize(
    ("error", "status", "type_"),
    [
        (ServiceError(429, "full", "Too much.", headers={"Retry-After": "3"}), 429, "full"),
        (ClientDisconnect(), 499, "client_disconnected"),
        (asyncio.CancelledError(), 503, "stopping"),
        (ValueError("the secret text"), 500, "internal"),
    ],
)
def test_exception_becomes_an_error_response(error, status, type_):
    response = send(raising(error))
    assert (response.status_code, response.json()["error"]["type"]) == (status, type_)
    assert response.headers.get("retry-after") == {429: "3", 503: "5"}.get(status)
    assert "secret" not in response.text


def test_unexpected_exception_is_logged(monkeypatch):
    logged = []
    monkeypatch.setattr(logging.getLogger("precis.errors"), "error", lambda *_, exc_info: logged.append(exc_info))
    send(fail)
    assert [type(error) for error in logged] == [ValueError]


def test_error_of_another_form_is_rewritten_and_keeps_its_headers():
    async def endpoint(request):
        return PlainTextResponse("Too Many", 429, {"Retry-After": "7"})

    response = send(endpoint)
    assert response.json() == {"error": {"type": "full", "message": "The request cannot be answered."}}
    assert (response.headers["retry-after"], response.headers["content-type"]) == ("7", "application/json")
    assert int(response.headers["content-length"]) == len(response.content)


def test_error_in_our_form_is_not_changed():
    async def endpoint(request):
        return ServiceError(422, "invalid_field", "ü is wrong.", "text").response()

    assert send(endpoint).json() == {"error": {"type": "invalid_field", "message": "ü is wrong.", "field": "text"}}


def test_error_of_the_page_is_not_changed():
    async def endpoint(request):
        return JSONResponse({"detail": "x"}, 422)

    assert send(endpoint, "/ui").json() == {"detail": "x"}


def test_started_response_gets_no_second_one():
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError

    async def send(message):
        sent.append(message)

    asyncio.run(ErrorMiddleware(app)({"type": "http", "path": "/summarize"}, None, send))
    assert [message["type"] for message in sent] == ["http.response.start"]


def test_error_bodies_have_no_field_unless_one_is_named():
    assert json.loads(ServiceError(400, "a", "b").response().body) == {"error": {"type": "a", "message": "b"}}
