"""The Gradio page: layout, and which event calls which handler."""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

# Read when gradio is imported. Its summary of the last events would be computed after each one.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(1 << 62))
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")

import gradio as gr
from fastapi import FastAPI
from gradio.routes import App
from starlette.middleware import Middleware
from starlette.routing import Mount

from bento.memory import return_free_memory
from bento.page import about, compare, limits
from bento.page.admission import AdmissionQueue
from bento.page.batch import Batch
from bento.page.batch_rows import to_csv, to_jsonl
from bento.page.head_tags import HeadTagsMiddleware
from bento.page.html import escape, render
from bento.page.options import Options, build_options, default_params
from bento.page.readers.formats import READERS
from bento.page.routes import PageRoutesMiddleware
from bento.page.session_memory import SessionMemory
from bento.page.single import SingleText
from bento.page.theme import theme
from bento.page.upload_components import without_copies
from bento.page.upload_limit import UploadLimitMiddleware
from bento.page.uploads import UploadStore
from bento.settings import settings
from precis import Engine
from precis.params import ResolvedParams

STATIC = Path(__file__).parent / "static"
SWEEP_SECONDS = 2.0  # between two looks for ended visits
TRIM_SECONDS = 20.0  # between two times that freed memory is returned to the system
FILE_TYPES = list(READERS)
# Both replace the value of the hidden address box, which the server cannot know behind a proxy, with the browser's.
WITH_ADDRESS = "(first, _, ...options) => [first, location.href, ...options]"
ADDRESS_FIRST = "(_, ...options) => [location.href, ...options]"


def mount(app: FastAPI, engine: Engine) -> FastAPI:
    """Adds the page to `app` at /ui and returns `app`."""
    uploads = UploadStore()
    os.environ["GRADIO_TEMP_DIR"] = str(uploads.folder)  # Gradio takes files from there only
    page = _build_page(engine, uploads)
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
        css=_static("page.css"),
        head=f"<script>{_static('page.js')}</script>",
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
    ended, trimmed = 0, time.monotonic()
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        ended += await memory.sweep()
        uploads.delete_old()
        if ended and time.monotonic() - trimmed >= TRIM_SECONDS:
            await asyncio.to_thread(return_free_memory)
            ended, trimmed = 0, time.monotonic()


def _build_page(engine: Engine, uploads: UploadStore) -> gr.Blocks:
    queue = AdmissionQueue()
    with gr.Blocks(title="Precis", analytics_enabled=False, fill_width=True) as page:
        _html(_header(engine), elem_id="header")
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("One text"):
                options = _single_tab(page, engine, queue, uploads)
            with gr.Tab("Several texts"):
                _batch_tab(Batch(engine, queue), options, uploads)
            with gr.Tab("About this model"):
                _html(about.about_html(engine.bundle), elem_id="about")
    # The admission queue orders the visitors and the page's routes bound the events, so that Gradio's queue need not.
    page.max_threads = limits.MAX_EVENTS
    return page.queue(default_concurrency_limit=None)


def _static(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


def _html(value: str = "", **options: Any) -> gr.HTML:
    """Markup without Gradio's own style."""
    return gr.HTML(value, apply_default_css=False, **options)


def _bind(event: Callable[..., Any], handler: Callable[..., Any], inputs: Any, outputs: Any, **options: Any) -> Any:
    """Calls `handler` on `event`. It may be called again while it runs, since a newer task stops the older one.

    The handler checks the values itself: an error of Gradio's own checks would be printed with the visitor's text.
    """
    options |= {
        "show_progress": "hidden", "trigger_mode": "multiple", "api_visibility": "private", "preprocess": False
    }  # fmt: skip
    return event(handler, inputs, outputs, **options)


def _header(engine: Engine) -> str:
    return (
        '<header><div><h1>Precis</h1><p class="tagline">Paste a text, read its gist, see what it rests on.</p></div>'
        f'<p class="chip">{escape(about.model_label(engine.bundle.manifest))}</p></header>'
    )


def _single_tab(page: gr.Blocks, engine: Engine, queue: AdmissionQueue, uploads: UploadStore) -> Options:
    """The tab for one text; returns its options, which the tab for several texts shares."""
    base_folder = compare.find_base_bundle(engine, settings().compare_bundle)
    single = SingleText(engine, queue, settings().asks_for_keys, uploads.delete)
    address = gr.Textbox(visible=False)
    last_result = gr.State(None)
    with gr.Row(elem_id="single-text", equal_height=False):
        inputs = _input_panel(default_params(engine))
        outputs, compare_button = _summary_panel(has_base=base_folder is not None)
    shared = [address, *inputs.options]
    views = [inputs.text, *outputs, last_result]
    scroll = "() => precis.scrollToSummary()"
    _bind(inputs.summarize.click, single.run, [inputs.text, *shared], views, js=WITH_ADDRESS)
    inputs.summarize.click(None, js=scroll)
    _bind(inputs.upload.upload, single.run_file, [inputs.upload, *shared], views, js=WITH_ADDRESS)
    for document, button in inputs.examples:
        _bind(button.click, single.run_example, [gr.State(document), *shared], views, js=WITH_ADDRESS)
        button.click(None, js=scroll)
    _bind(inputs.stop.click, single.tasks.stop, None, None)
    inputs.text.change(None, inputs.text, js="(text) => precis.showWordCount(text)")
    _bind(page.load, single.run_link, shared, views, js=ADDRESS_FIRST)
    if base_folder is not None:
        _bind(compare_button.click, compare.BaseComparison(base_folder).run, last_result, outputs[-1])
    return inputs.options


class _InputPanel(NamedTuple):
    text: gr.Textbox
    summarize: gr.Button
    stop: gr.Button
    upload: gr.UploadButton
    examples: list[tuple[str, gr.Button]]  # (document, button)
    options: Options


def _input_panel(defaults: ResolvedParams) -> _InputPanel:
    with gr.Column(elem_id="input-panel", min_width=300):
        text = gr.Textbox(
            label="Your text", placeholder="Paste an article here.", lines=12, max_lines=16, elem_id="text"
        )
        _html('<span class="count"></span>', elem_id="count")
        with gr.Row(elem_id="actions"):
            summarize = gr.Button("Summarize", elem_id="go", variant="primary", scale=2, min_width=120)
            stop = gr.Button("Stop", elem_id="stop", scale=1, min_width=80)
            upload = without_copies(
                gr.UploadButton("Open a file", elem_id="open", file_types=FILE_TYPES, scale=1, min_width=110)
            )
        _html('<h2 class="small">Or try one of these</h2>')
        with gr.Row(elem_id="examples"):
            examples = [
                (example["document"], gr.Button(example["title"], size="sm", scale=0, min_width=0))
                for example in json.loads(_static("examples.json"))
            ]
        with gr.Accordion("Options", open=False, elem_id="options"):
            options = build_options(defaults)
    return _InputPanel(text, summarize, stop, upload, examples, options)


def _summary_panel(has_base: bool) -> tuple[list[gr.HTML], gr.Button]:
    """The outputs in the order of `single.View`, and the button for the comparison."""
    with gr.Column(elem_id="summary-panel", min_width=300):
        _html('<h2 class="small">Summary</h2>')
        summary = _html(render("empty_summary.html"), elem_id="summary")
        status = _html("", elem_id="status")
        with gr.Column(elem_id="results"):
            with gr.Row(elem_id="summary-actions"):
                _script_button("Copy summary", "copy", "() => precis.copySummary()")
                _script_button("Copy link", "link", "() => precis.copyLink()")
            with gr.Tabs(elem_id="details"):
                with gr.Tab("What it rests on"):
                    source = _html(elem_id="source")
                with gr.Tab("Before fine-tuning", visible=has_base):
                    _html(compare.INTRODUCTION)
                    compare_button = gr.Button("Let the base model try", elem_id="compare", size="sm", scale=0)
                    base = _html(elem_id="base")
                with gr.Tab("As code"):
                    curl, python = _code_block("curl", "As curl"), _code_block("python", "As Python")
    return [summary, status, source, curl, python, base], compare_button


def _script_button(label: str, elem_id: str, script: str) -> None:
    """A button that only the browser acts on."""
    gr.Button(label, elem_id=elem_id, size="sm", scale=0, min_width=0).click(None, js=script)


def _code_block(elem_id: str, title: str) -> gr.HTML:
    with gr.Row(elem_classes="code-head"):
        _html(f"<h3>{title}</h3>")
        _script_button("Copy", f"{elem_id}-copy", f"() => precis.copyCode('{elem_id}')")
    return _html(elem_id=elem_id)


def _batch_tab(batch: Batch, options: Options, uploads: UploadStore) -> None:
    rows = gr.State(None)
    _html(
        f'<p class="intro">Up to {limits.MAX_FILES} files, {limits.MAX_FILE_BYTES >> 20} MB each and '
        f"{uploads.max_request_bytes >> 20} MB together: txt, md, html, pdf, docx. "
        "The options of the first tab apply. The files are deleted when you leave the page, or after an hour.</p>"
    )
    files = without_copies(
        gr.File(label="Your documents", file_count="multiple", file_types=FILE_TYPES, elem_id="files", height=180)
    )
    with gr.Row(elem_id="batch-actions"):
        summarize = gr.Button("Summarize all", variant="primary", elem_id="summarize-all", scale=0)
        stop = gr.Button("Stop", elem_id="stop-batch", scale=0)
    status = _html("", elem_id="batch-status")
    table = _html(elem_id="table")
    outputs = [table, status, rows]
    _bind(summarize.click, batch.run, [files, *options], outputs)
    _bind(files.upload, batch.run, [files, *options], outputs)
    _bind(stop.click, batch.tasks.stop, None, None)
    with gr.Row(elem_id="downloads"):
        content = gr.Textbox(visible="hidden", label="What is downloaded")
        _download_button("Download CSV", "summaries.csv", "text/csv", to_csv, rows, content)
        _download_button("Download JSONL", "summaries.jsonl", "application/x-ndjson", to_jsonl, rows, content)


def _download_button(
    label: str, file_name: str, media_type: str, serialize: Callable[..., str], rows: gr.State, content: gr.Textbox
) -> None:
    """A button that saves the rows. The browser makes the file, so the server keeps no copy of it."""
    button = gr.Button(label, size="sm", scale=0)
    serialized = _bind(button.click, serialize, rows, content)
    serialized.then(None, content, js=f"(text) => precis.download('{file_name}', '{media_type}', text)")
