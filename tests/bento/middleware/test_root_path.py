"""A path prefix, stripped by the proxy or not."""

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from bento.middleware.root_path import AddRootPathMiddleware, StripRootPathMiddleware
from tests.bento.middleware.apps import client


async def seen(request: Request) -> JSONResponse:
    """What a route of the app sees."""
    return JSONResponse({"base": str(request.base_url), "path": request.url.path, "name": request.path_params.get("n")})


class Between:
    """A middleware between the two, which remembers the path."""

    path = ""

    def __init__(self, app) -> None:
        self.app = app

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "http":
            Between.path = scope["path"]
        await self.app(scope, receive, send)


@pytest.mark.parametrize("sent", ["", "/tools/precis"], ids=["stripped", "kept"])
@pytest.mark.parametrize(
    ("path", "status", "name"), [("/summarize", 200, None), ("/ui/a%2Fb", 200, "a/b"), ("/tools/precisely", 404, None)]
)
def test_middlewares_see_own_paths_and_routes_the_whole(sent, path, status, name):
    routes = [Route("/summarize", seen), Mount("/ui", routes=[Route("/{n:path}", seen)])]
    root = {"root_path": "/tools/precis"}
    stack = [
        Middleware(StripRootPathMiddleware, **root),
        Middleware(Between),
        Middleware(AddRootPathMiddleware, **root),
    ]
    app = Starlette(routes=routes, middleware=stack)

    async def run():
        async with client(app) as http:
            return await http.get(sent + path)

    response = asyncio.run(run())
    assert (response.status_code, Between.path) == (status, path.replace("%2F", "/"))
    if status == 200:
        assert response.json()["name"] == name
        assert response.json()["path"] == "/tools/precis" + path.replace("%2F", "/")
        assert response.json()["base"].startswith("http://test/tools/precis/")
