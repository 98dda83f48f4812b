"""Which paths ask for a key, and where it may stand."""

import asyncio

import pytest
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware

from bento.middleware.api_keys import ApiKeys
from bento.middleware.auth import ApiKeyBackend, unauthorized
from bento.settings import ServiceSettings
from tests.bento.middleware.apps import app_with, client

KEY = "k" * 16


def send(path: str, **headers: str):
    backend = ApiKeyBackend(ApiKeys(ServiceSettings(api_keys=KEY)))
    app = app_with(Middleware(AuthenticationMiddleware, backend=backend, on_error=unauthorized))

    async def run():
        async with client(app) as http:
            return await http.post(path, headers=headers)

    return asyncio.run(run())


@pytest.mark.parametrize(
    "headers", [{"Authorization": f"Bearer {KEY}"}, {"authorization": f"bearer  {KEY} "}, {"X-API-Key": KEY}]
)
def test_key_is_accepted(headers):
    assert send("/summarize", **headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-API-Key": ""}, {"X-API-Key": KEY[:-1]}, {"Authorization": "Bearer"}, {"Authorization": f"Basic {KEY}"}],
)
@pytest.mark.parametrize("path", ["/summarize", "/summarize_batch", "/summarize_stream", "/model"])
def test_request_without_a_known_key_gets_401(path, headers):
    response = send(path, **headers)
    assert (response.status_code, response.json()["error"]["type"]) == (401, "no_key")
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz"])
def test_other_paths_need_no_key(path):
    assert send(path).status_code == 200
