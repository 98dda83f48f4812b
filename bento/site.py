"""What BentoML does not route itself: GET /model, and the page, which is loaded after the API is up."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route

from bento.state import current

log = logging.getLogger("bentoml.precis")


class Page:
    """The Gradio page as an ASGI app that is built in the background: importing Gradio takes seconds, and the API need
    not wait for it. A visitor who comes too early waits for the page."""

    def __init__(self) -> None:
        self.app = None
        self.built = asyncio.Event()

    async def build(self, until: contextlib.AsyncExitStack) -> None:
        from fastapi import FastAPI

        def load():
            from bento.page import mount

            return mount(FastAPI(openapi_url=None), current())

        try:
            app = await asyncio.to_thread(load)
            await until.enter_async_context(app.router.lifespan_context(app))
            self.app = app
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
    return JSONResponse(current().bundle.manifest)


def make_site() -> Starlette:
    """The app that is mounted beside BentoML's own routes."""
    page = Page()

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            task = asyncio.create_task(page.build(stack))
            yield
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    return Starlette(routes=[Route("/model", model), Route("/ui", page), Mount("/ui", page)], lifespan=lifespan)
