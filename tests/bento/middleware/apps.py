"""Small ASGI apps and a client for tests of single middlewares."""

from collections.abc import Callable

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from bento.middleware.errors import ErrorMiddleware

PATHS = ("/", "/summarize", "/summarize_batch", "/summarize_stream", "/model", "/livez", "/readyz", "/ui")


async def echo(request: Request) -> JSONResponse:
    """What arrived at the app."""
    body = await request.body()
    return JSONResponse({"body": body.decode(), "content_type": request.headers.get("content-type")})


def app_with(*middlewares: Middleware, endpoint: Callable = echo, errors: bool = True) -> ASGIApp:
    """`endpoint` at every path behind the middlewares, the outermost first; ServiceErrors become responses."""
    routes = [Route(path, endpoint, methods=["GET", "POST"]) for path in PATHS]
    outer = [Middleware(ErrorMiddleware)] if errors else []
    return Starlette(routes=routes, middleware=[*outer, *middlewares])


def client(app: ASGIApp, address: str = "10.0.0.1") -> httpx.AsyncClient:
    """A client of the app without a network."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def fail(request: Request) -> PlainTextResponse:
    """An endpoint with a bug."""
    raise ValueError("the secret text")
