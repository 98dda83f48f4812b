"""What BentoML does not route itself: our documents and metrics, and the page, which is loaded after the API is up."""

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from bento import metrics
from bento.api_reference import render
from bento.icon import FILE
from bento.openapi import describe
from bento.process.state import current
from bento.settings import ServiceSettings

log = logging.getLogger("precis.page")


class Page:
    """The Gradio page as an ASGI app that is built in the background: importing Gradio takes seconds, and the API need
    not wait for it. A visitor who comes too early waits for the page."""

    def __init__(self) -> None:
        self.app = None
        self.built = asyncio.Event()

    async def build(self, until: contextlib.AsyncExitStack) -> None:
        from fastapi import FastAPI

        def load():
            from bento.page.app import mount

            return mount(FastAPI(openapi_url=None), current())

        try:
            app = await asyncio.to_thread(load)
            await until.enter_async_context(app.router.lifespan_context(app))
            self.app = app
            gc.collect()
            gc.freeze()  # likewise: what Gradio loaded stays
        except Exception:
            # The API goes on without its page; whoever asks for it is told.
            log.exception("The page could not be loaded")
            self.app = PlainTextResponse("The page could not be loaded; the server's log tells why.", 503)
        self.built.set()

    async def __call__(self, scope: dict, receive, send) -> None:
        await self.built.wait()
        # Gradio mounts itself at /ui; the mounts around it must not count twice.
        await self.app({**scope, "root_path": ""}, receive, send)


async def model(_: Request) -> JSONResponse:
    """The manifest of the bundle that is served."""
    return JSONResponse(current().bundle.manifest.as_json())


async def prometheus(_: Request) -> Response:
    """The metrics in Prometheus' text form."""
    return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def favicon(_: Request) -> Response:
    """The icon, for browsers that ask for it by this name whatever a page says."""
    return FileResponse(FILE, media_type="image/x-icon", headers={"Cache-Control": "max-age=86400"})


def make_site(settings: ServiceSettings) -> Starlette:
    """The app that is mounted beside BentoML's own routes, and before its page at /, which loads a tag manager."""
    page = Page()

    async def openapi(_: Request) -> JSONResponse:
        return JSONResponse(describe(settings.asks_for_keys))

    async def documentation(request: Request) -> HTMLResponse:
        address = str(request.base_url).rstrip("/")
        return HTMLResponse(render(describe(settings.asks_for_keys), address, settings.has_page))

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            task = asyncio.create_task(page.build(stack)) if settings.has_page else None
            yield
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    routes = [
        Route("/", documentation),
        Route("/docs.json", openapi),
        Route("/model", model),
        Route("/metrics", prometheus),
        Route("/favicon.ico", favicon),
    ]
    if settings.has_page:
        routes += [Route("/ui", page), Mount("/ui", page)]
    return Starlette(routes=routes, lifespan=lifespan)
