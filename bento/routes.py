"""The routes that BentoML does not have: the API's description, model, metrics and icon, and the page."""

import asyncio
import contextlib
import gc
import importlib.util
import logging
import os
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bento import metrics
from bento.api_reference import render
from bento.icon import ICON_FILE
from bento.memory import return_free_memory_regularly
from bento.middleware.root_path import without_root_path
from bento.openapi import answer_example, describe, with_answer
from bento.process.state import get_engine
from bento.settings import ServiceSettings
from precis import GenerationParams
from precis.params import GenerationFields, resolve

log = logging.getLogger("precis.page")


class LazyPage:
    """The Gradio page as an ASGI app that is built in the background, after the API is up.

    Importing Gradio takes seconds, and the API need not wait for it. Requests that come before wait for the page.
    """

    def __init__(self, root_path: str) -> None:
        """`root_path` is the prefix under which a reverse proxy serves the service."""
        self._root_path = root_path
        self._app: ASGIApp | None = None
        self._built = asyncio.Event()

    async def build(self, stack: contextlib.AsyncExitStack) -> None:
        """Imports and builds the page; `stack` ends it. If that fails, the API goes on and the page answers 503."""
        from fastapi import FastAPI

        def load() -> FastAPI:
            # Gradio imports matplotlib, where it is installed, at the first event, in the event loop and for seconds.
            os.environ.setdefault("MPLBACKEND", "agg")  # or it would look for a display
            if importlib.util.find_spec("matplotlib"):
                importlib.import_module("matplotlib")
            from bento.page.app import mount

            return mount(FastAPI(openapi_url=None), get_engine())

        try:
            app = await asyncio.to_thread(load)
            await stack.enter_async_context(app.router.lifespan_context(app))
            self._app = app
            gc.collect()
            gc.freeze()  # what Gradio loaded stays, too
        except Exception:
            log.exception("The page could not be loaded")
            self._app = PlainTextResponse("The page could not be loaded; the server's log has the reason.", 503)
        self._built.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._built.wait()
        if self._app is not None:
            # Gradio is mounted at /ui in its own app, so the mounts around that one must not be counted again.
            await self._app({**without_root_path(scope, self._root_path), "root_path": ""}, receive, send)


async def model(_: Request) -> JSONResponse:
    """The manifest of the bundle that is served."""
    return JSONResponse(get_engine().bundle.manifest.as_json())


async def prometheus(_: Request) -> Response:
    """The metrics in Prometheus' text format."""
    return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def favicon(_: Request) -> Response:
    """The icon, for browsers that ask for it by this name whatever a page says."""
    return FileResponse(ICON_FILE, media_type="image/x-icon", headers={"Cache-Control": "max-age=86400"})


async def to_page(request: Request) -> Response:
    """Redirects to the page's own address. It is relative: what a reverse proxy calls this host is nobody else's."""
    query = f"?{request.url.query}" if request.url.query else ""
    return Response(status_code=307, headers={"Location": f"ui/{query}"})


def make_site(settings: ServiceSettings) -> Starlette:
    """The app that is mounted at /. It comes before BentoML's own page there, which loads scripts of a third party."""
    page = LazyPage(settings.root_path)

    answer: dict[str, Any] | None = None

    async def description() -> dict[str, Any]:
        """The API's description with the served model's own answer to the example, which is asked for once."""
        nonlocal answer
        answer = answer or await answer_example(get_engine())
        api = describe(settings.asks_for_keys)
        return with_answer(api, answer) if answer else api

    async def openapi(_: Request) -> JSONResponse:
        return JSONResponse({**await description(), "servers": [{"url": settings.root_path or "/"}]})

    async def documentation(request: Request) -> HTMLResponse:
        address = str(request.base_url).rstrip("/")
        resolved = resolve(GenerationParams(), get_engine().bundle.generation_config)
        defaults = {name: getattr(resolved, name) for name in GenerationFields.model_fields}
        return HTMLResponse(render(await description(), address, settings.has_page, defaults))

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            tasks = [asyncio.create_task(return_free_memory_regularly())]
            if settings.has_page:
                tasks.append(asyncio.create_task(page.build(stack)))
            yield
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    routes: list[BaseRoute] = [
        Route("/", documentation),
        Route("/docs.json", openapi),
        Route("/model", model),
        Route("/metrics", prometheus),
        Route("/favicon.ico", favicon),
    ]
    if settings.has_page:
        routes += [Route("/ui", to_page), Mount("/ui", page)]
    site = Starlette(routes=routes, lifespan=lifespan)
    # Its redirects would name the host by which a reverse proxy calls this server.
    site.router.redirect_slashes = False
    return site
