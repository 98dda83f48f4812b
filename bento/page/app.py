"""The Gradio page, mounted with the middlewares and the sweeps that it needs."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

# Read when gradio is imported. Its summary of the last events would be computed after each one.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(1 << 62))
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")

import gradio as gr
from fastapi import FastAPI
from gradio.routes import App
from starlette.middleware import Middleware
from starlette.routing import Mount

from bento.page import about, limits
from bento.page.admission import AdmissionQueue
from bento.page.batch import Batch
from bento.page.batch_layout import batch_tab
from bento.page.components import STYLES, head, html, static
from bento.page.head_tags import HeadTagsMiddleware
from bento.page.html import render
from bento.page.options import Options
from bento.page.routes import PageRoutesMiddleware
from bento.page.session_memory import SessionMemory
from bento.page.single_layout import EMPTY_SUMMARY, VIEW_NAMES, single_tab
from bento.page.theme import theme
from bento.page.upload_limit import UploadLimitMiddleware
from bento.page.uploads import UploadStore
from precis import Engine

SWEEP_SECONDS = 2.0  # between two looks for ended visits


def mount(app: FastAPI, engine: Engine) -> FastAPI:
    """Adds the page to `app` at /ui and returns `app`."""
    uploads = UploadStore()
    os.environ["GRADIO_TEMP_DIR"] = str(uploads.folder)  # Gradio takes files from there only
    page, options = _build_page(engine, uploads)
    # Otherwise Gradio reads any file of the server that a visitor names as an upload: it checks paths only once the
    # page counts as launched, and a mounted page never does.
    page.has_launched = True
    page.state_session_capacity = limits.MAX_SESSIONS
    gr.mount_gradio_app(
        app,
        page,
        path="/ui",
        app_kwargs={"middleware": [Middleware(HeadTagsMiddleware)]},
        theme=theme(),
        css="".join(map(static, STYLES)),
        head=head(
            uploads.max_request_bytes,
            options._fields,
            [option.value for option in options],
            VIEW_NAMES,
            str(EMPTY_SUMMARY),
        ),
        footer_links=[],
        max_file_size=limits.MAX_FILE_BYTES,
        show_error=False,
        run_history=False,  # else texts stay in the browser, or go to a bucket that a header names
    )
    [gradio_app] = [route.app for route in app.routes if isinstance(route, Mount) and isinstance(route.app, App)]
    memory = SessionMemory(page, gradio_app, uploads.delete_session)
    app.add_middleware(PageRoutesMiddleware, page=page, memory=memory, uploads=uploads)
    app.add_middleware(UploadLimitMiddleware)
    gradio_lifespan = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        async with gradio_lifespan(app) as state:
            sweeping = asyncio.create_task(_sweep(memory, uploads))
            try:
                yield state
            finally:
                sweeping.cancel()
                uploads.close()

    app.router.lifespan_context = lifespan
    return app


async def _sweep(memory: SessionMemory, uploads: UploadStore) -> None:
    """Frees what ended visits have left, until it is cancelled."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        await memory.sweep()
        uploads.delete_old()


def _build_page(engine: Engine, uploads: UploadStore) -> tuple[gr.Blocks, Options]:
    queue = AdmissionQueue()
    with gr.Blocks(title="Precis", analytics_enabled=False, fill_width=True) as page:
        html(_header(engine), elem_id="header")
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("One text"):
                options = single_tab(engine, queue, uploads)
            with gr.Tab("Several texts"):
                batch_tab(Batch(engine, queue), options, uploads.max_request_bytes)
            with gr.Tab("About"):
                html(about.about_html(engine.bundle), elem_id="about")
    # The admission queue orders the visitors and the page's routes bound the events, so that Gradio's queue need not.
    page.max_threads = limits.MAX_EVENTS
    return page.queue(default_concurrency_limit=None), options


def _header(engine: Engine) -> str:
    return render("header.html", description=about.model_description(engine.bundle))
