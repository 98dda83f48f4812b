"""The request id of the response and of the log."""

import asyncio
import re

import pytest
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse

from bento import logs
from bento.middleware.request_id import RequestIDMiddleware
from tests.bento.middleware.apps import app_with, client


async def current_id(request):
    return PlainTextResponse(logs.request_id.get())


def send(request_id: str):
    async def run():
        async with client(app_with(Middleware(RequestIDMiddleware), endpoint=current_id)) as http:
            return await http.get("/model", headers={"X-Request-ID": request_id})

    return asyncio.run(run())


def test_callers_id_is_returned_and_set_for_the_log():
    response = send("shop-17.a")
    assert response.headers["x-request-id"] == response.text == "shop-17.a"


@pytest.mark.parametrize("request_id", ["", "a b", "x" * 129, 'q"uote', "ünicode".encode("latin-1").decode("latin-1")])
def test_invalid_id_is_replaced(request_id):
    response = send(request_id.encode("latin-1"))
    assert response.headers["x-request-id"] == response.text
    assert re.fullmatch("[0-9a-f]{32}", response.text)
