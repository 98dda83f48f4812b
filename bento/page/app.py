"""The Gradio page: a text in, its summary growing, what it rests on, and the model that wrote it."""

import json
import os
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported

import gradio as gr
from fastapi import FastAPI
from starlette.middleware import Middleware

from bento.page import about, options
from bento.page.admission import Line
from bento.page.batch import Batch
from bento.page.compare import LEAD, Compare, base_folder
from bento.page.head import Head
from bento.page.html import escape
from bento.page.readers import MAX_BYTES, READERS
from bento.page.single import Single
from bento.page.theme import theme
from bento.page.upload_limit import MAX_UPLOAD, BodyLimit
from bento.settings import settings
from precis import Engine

HERE = Path(__file__).parent / "static"
KEPT = 3600  # seconds that a visitor's files of a batch stay, so that it can be run again
FILE_TYPES = [*READERS]
EMPTY = """
<div class="empty">
  <p class="lead">The gist of your text will be written here, while you watch.</p>
  <ol>
    <li>Paste an article into the box. It starts at once.</li>
    <li>Or drop a file anywhere on this page: txt, md, html, pdf or docx. Several make a table.</li>
    <li>Then see which sentences the summary rests on, and which of its numbers and names the text lacks.</li>
  </ol>
</div>
"""


def mount(app: FastAPI, engine: Engine) -> FastAPI:
    """`app` with the page at /ui."""
    app.add_middleware(BodyLimit)
    page = _page(engine)
    # Gradio lets a visitor name any file of the server as their upload, unless it believes the page was launched; it
    # does not think so of a mounted one.
    page.has_launched = True
    mounted = gr.mount_gradio_app(
        app,
        page,
        path="/ui",
        theme=theme(),
        css=(HERE / "page.css").read_text(encoding="utf-8"),
        head=f"<script>{(HERE / 'page.js').read_text(encoding='utf-8')}</script>",
        footer_links=[],
        max_file_size=MAX_BYTES,
        show_error=False,
    )
    # The innermost one: what it rewrites is not compressed yet.
    mounted.routes[-1].app.user_middleware.append(Middleware(Head))
    return mounted


def _page(engine: Engine) -> gr.Blocks:
    line = Line()
    own = options.defaults(engine)
    examples = json.loads((HERE / "examples.json").read_text(encoding="utf-8"))
    base = base_folder(engine, settings().compare_bundle)
    with gr.Blocks(title="Precis", analytics_enabled=False, fill_width=True, delete_cache=(KEPT, KEPT)) as page:
        _html(_head(engine), elem_id="head")
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("One text"):
                components = _single(
                    page,
                    Single(engine, line, examples, settings().asks_for_keys),
                    own,
                    examples,
                    base and Compare(base),
                )
            with gr.Tab("Several texts"):
                _batch(Batch(engine, line), components)
            with gr.Tab("About this model"):
                _html(about.about_html(engine.bundle), elem_id="about")
    # Everybody's turn is kept by the line, which knows the engine; Gradio's queue only bounds what it holds itself.
    return page.queue(default_concurrency_limit=None, max_size=512)


def _html(value: str = "", **how) -> gr.HTML:
    """Our own markup in our own style."""
    return gr.HTML(value, apply_default_css=False, **how)


def _head(engine: Engine) -> str:
    return (
        '<header><div><h1>Precis</h1><p class="tagline">Paste a text, read its gist, see what it rests on.</p></div>'
        f'<p class="chip">{escape(about.chip(engine.bundle.manifest))}</p></header>'
    )


class _Desk(NamedTuple):
    """What the visitor fills in."""

    text: gr.Textbox
    open: gr.UploadButton
    go: gr.Button
    stop: gr.Button
    options: options.Options
    examples: list[tuple[str, gr.Button]]


def _desk(own, examples: list[dict[str, str]]) -> _Desk:
    """The left side."""
    with gr.Column(elem_id="desk", min_width=300):
        text = gr.Textbox(
            label="Your text", elem_id="text", lines=12, max_lines=16, placeholder="Paste an article here."
        )
        _html('<span class="count"></span>', elem_id="count")
        with gr.Row(elem_id="act"):
            go = gr.Button("Summarize", elem_id="go", variant="primary", scale=2, min_width=120)
            stop = gr.Button("Stop", elem_id="stop", scale=1, min_width=80)
            opened = gr.UploadButton("Open a file", elem_id="open", file_types=FILE_TYPES, scale=1, min_width=110)
        _html('<h2 class="small">Or try one of these</h2>')
        with gr.Row(elem_id="examples"):
            chips = [
                (example["title"], gr.Button(example["title"], size="sm", scale=0, min_width=0)) for example in examples
            ]
        with gr.Accordion("Options", open=False, elem_id="options"):
            components = options.components(own)
    return _Desk(text, opened, go, stop, components, chips)


def _single(
    page: gr.Blocks, single: Single, own, examples: list[dict[str, str]], compare: Compare | None
) -> options.Options:
    """The first tab; returns the options, which the second one shares."""
    address = gr.Textbox(visible=False)  # of this page as the browser knows it; the events' scripts fill it in
    made = gr.State(None)
    with gr.Row(elem_id="one", equal_height=False):
        desk = _desk(own, examples)
        with gr.Column(elem_id="paper", min_width=300):
            _html('<h2 class="small">Summary</h2>')
            summary = _html(EMPTY, elem_id="summary")
            status = _html("", elem_id="status")
            with gr.Column(elem_id="results"):
                with gr.Row(elem_id="take"):
                    copy = gr.Button("Copy summary", elem_id="copy", size="sm", scale=0)
                    link = gr.Button("Copy link", elem_id="link", size="sm", scale=0)
                with gr.Tabs(elem_id="more"):
                    with gr.Tab("What it rests on"):
                        source = _html(elem_id="source")
                    with gr.Tab("Before fine-tuning", visible=compare is not None):
                        _html(LEAD)
                        ask = gr.Button("Let the base model try", elem_id="compare", size="sm", scale=0)
                        base = _html(elem_id="base")
                    with gr.Tab("As code"):
                        curl, python = _code("curl", "As curl"), _code("python", "As Python")
    outputs = [desk.text, summary, status, source, curl, python, base, made]
    shared = [address, *desk.options]
    # A second wish while one is being met is no mistake: the newer one wins (trigger_mode), and the handler sees to it.
    how = {"outputs": outputs, "show_progress": "hidden", "trigger_mode": "multiple", "api_visibility": "private"}
    here = "(first, _, ...options) => [first, location.href, ...options]"
    desk.go.click(single.run, [desk.text, *shared], js=here, **how)
    desk.go.click(None, js="() => precis.show()")
    desk.open.upload(single.run_file, [desk.open, *shared], js=here, **how)
    for title, chip in desk.examples:
        chip.click(single.run_example, [gr.State(title), *shared], js=here, **how)
        chip.click(None, js="() => precis.show()")
    desk.stop.click(single.stop, api_visibility="private", queue=False)
    desk.text.change(None, desk.text, js="(text) => precis.count(text)")
    copy.click(None, js="() => precis.copySummary()")
    link.click(None, js="() => precis.copyLink()")
    if compare is not None:
        ask.click(compare.run, made, base, show_progress="hidden", trigger_mode="multiple", api_visibility="private")
    page.load(single.run_link, shared, js="(_, ...options) => [location.href, ...options]", **how)
    return desk.options


def _code(name: str, title: str) -> gr.HTML:
    with gr.Row(elem_classes="code-head"):
        _html(f"<h3>{title}</h3>")
        copy = gr.Button("Copy", elem_id=f"{name}-copy", size="sm", scale=0, min_width=0)
    copy.click(None, js=f"() => precis.copyCode('{name}')")
    return _html(elem_id=name)


def _batch(batch: Batch, options: options.Options) -> None:
    """The second tab."""
    rows = gr.State(None)
    content = gr.Textbox(visible="hidden", label="What is downloaded")
    _html(
        f'<p class="intro">Up to {batch.MAX_FILES} files, {MAX_BYTES >> 20} MB each and {MAX_UPLOAD >> 20} MB '
        "together: txt, md, html, pdf, docx. "
        "The options of the first tab apply. The files are deleted within two hours.</p>"
    )
    files = gr.File(label="Your documents", file_count="multiple", file_types=FILE_TYPES, elem_id="files", height=180)
    with gr.Row(elem_id="act-all"):
        go = gr.Button("Summarize all", variant="primary", elem_id="go-all", scale=0)
        stop = gr.Button("Stop", elem_id="stop-all", scale=0)
    status = _html("", elem_id="batch-status")
    table = _html(elem_id="table")
    with gr.Row(elem_id="downloads"):
        as_csv = gr.Button("Download CSV", elem_id="csv", size="sm", scale=0)
        as_jsonl = gr.Button("Download JSONL", elem_id="jsonl", size="sm", scale=0)
    outputs = [table, status, rows]
    how = {"outputs": outputs, "show_progress": "hidden", "trigger_mode": "multiple", "api_visibility": "private"}
    go.click(batch.run, [files, *options], **how)
    files.upload(batch.run, [files, *options], **how)
    stop.click(batch.stop, api_visibility="private", queue=False)
    for button, write, name, kind in (
        (as_csv, batch.as_csv, "summaries.csv", "text/csv"),
        (as_jsonl, batch.as_jsonl, "summaries.jsonl", "application/x-ndjson"),
    ):
        written = button.click(write, rows, content, show_progress="hidden", api_visibility="private")
        written.then(None, content, js=f"(text) => precis.save('{name}', '{kind}', text)")
