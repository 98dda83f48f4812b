"""Only the service's own paths are reachable, whatever else BentoML serves."""

import asyncio

import pytest
from starlette.middleware import Middleware

from bento.middleware.errors import ErrorMiddleware
from bento.middleware.paths import KnownPathsMiddleware
from tests.bento.middleware.apps import app_with, client


@pytest.mark.parametrize(
    ("path", "status"), [("/summarize", 200), ("/ui", 200), ("/static_content/index.css", 404), ("/uix", 404)]
)
def test_unknown_paths_are_not_passed_on(path, status):
    async def run():
        async with client(app_with(Middleware(ErrorMiddleware), Middleware(KnownPathsMiddleware))) as http:
            return await http.post(path)

    response = asyncio.run(run())
    assert response.status_code == status
    assert status == 200 or response.json()["error"]["type"] == "not_found"
