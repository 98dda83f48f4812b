"""The tab "One text": its components, and which event calls which handler of `single`."""

import json
from typing import Any, NamedTuple

import gradio as gr

from bento.page import compare
from bento.page.admission import AdmissionQueue
from bento.page.components import FILE_TYPES, bind, html, notice, script_button, small_button, static
from bento.page.html import render
from bento.page.options import Options, build_advanced, build_length, default_params
from bento.page.single import SingleText
from bento.page.upload_components import without_copies
from bento.page.uploads import UploadStore
from bento.settings import settings
from precis import Engine
from precis.params import ResolvedParams

# Replaces the value of the hidden address box, which the server cannot know behind a proxy, with the browser's.
BEGIN = "(first, _, ...options) => precis.begin(first, options)"
EMPTY_SUMMARY = render("empty_summary.html")


class _Input(NamedTuple):
    text: gr.Textbox
    summarize: gr.Button
    stop: gr.Button
    upload: gr.UploadButton
    clear: gr.Button
    examples: list[tuple[str, gr.Button]]  # (document, button)
    options: Options


class _Output(NamedTuple):
    """The components in the order of `single.View`, without the text and the last result; `elem_id` is the field."""

    summary: gr.HTML
    status: gr.HTML
    source: gr.HTML
    curl: gr.HTML
    python: gr.HTML
    base: gr.HTML


VIEW_NAMES = _Output._fields[:-1]  # that a browser tab keeps; the comparison is made anew


def single_tab(engine: Engine, queue: AdmissionQueue, uploads: UploadStore) -> Options:
    """Builds the tab in the current container; returns its options, which the tab for several texts shares."""
    base_folder = compare.find_base_bundle(engine, settings().compare_bundle)
    comparison = None if base_folder is None else compare.BaseComparison(base_folder)
    single = SingleText(
        engine, queue, settings().asks_for_keys, uploads.delete, comparison.stop if comparison else None
    )
    address = gr.Textbox(visible=False)
    last_result = gr.State(None)
    with gr.Row(elem_id="single-text", equal_height=False):
        inputs = _input_panel(default_params(engine))
        outputs, compare_button = _summary_panel(has_base=comparison is not None)
    shared = [address, *inputs.options]
    views = [inputs.text, *outputs, last_result]
    events = [
        bind(inputs.summarize.click, single.run, [inputs.text, *shared], views, js=BEGIN),
        bind(inputs.upload.upload, single.run_file, [inputs.upload, *shared], views, js=BEGIN),
    ]
    for document, button in inputs.examples:
        events.append(bind(button.click, single.run_example, [gr.State(document), *shared], views, js=BEGIN))
    for event in events:
        event.then(None, [*outputs[:-1]], js="(...views) => precis.finish(...views)")
    bind(inputs.stop.click, single.tasks.stop_on_click, None, None)
    if comparison is not None:
        bind(compare_button.click, comparison.run, last_result, outputs.base)
    _connect_session(inputs, outputs)
    return inputs.options


def _connect_session(inputs: _Input, outputs: _Output) -> None:
    """The events that only the browser acts on; see static/session.js."""
    values: list[Any] = [inputs.text, *inputs.options]
    gr.on([component.change for component in values], None, values, js="(...values) => precis.changed(...values)")
    inputs.options.length.input(None, js="() => precis.rerun()")
    saved = [*values, *outputs[:-1]]
    inputs.clear.click(None, None, [inputs.text, outputs.summary, outputs.status], js="() => precis.clear()")
    restore = gr.Button(visible="hidden", elem_id="restore")
    restore.click(None, saved, saved, js="(...values) => precis.restore(...values)")


def _input_panel(defaults: ResolvedParams) -> _Input:
    with gr.Column(elem_id="input-panel", min_width=300):
        text = gr.Textbox(
            label="Your text", placeholder="Paste an article here.", lines=14, max_lines=14, elem_id="text"
        )
        with gr.Row(elem_id="text-actions"):
            html('<span class="count"></span>', elem_id="count")
            script_button("Undo", "undo", "() => precis.undoText()", outputs=text)
            clear = small_button("Clear", "clear")
        length = build_length(defaults)
        with gr.Row(elem_id="actions"):
            summarize = gr.Button("Summarize", elem_id="go", variant="primary", scale=2, min_width=120)
            stop = gr.Button("Stop", elem_id="stop", scale=1, min_width=80)
            upload = without_copies(
                gr.UploadButton("Open a file", elem_id="open", file_types=FILE_TYPES, scale=1, min_width=110)
            )
        html('<h2 class="small">Or try one of these</h2>')
        with gr.Row(elem_id="examples"):
            examples = [
                (
                    example["document"],
                    gr.Button(example["title"], elem_classes="small", size="sm", scale=0, min_width=0),
                )
                for example in json.loads(static("examples.json"))
            ]
        with gr.Accordion("Advanced", open=False, elem_id="options"):
            options = Options(length, *build_advanced(defaults))
        html('<div hidden><h2 class="small">Recent, in this tab only</h2><ul></ul></div>', elem_id="recent")
    return _Input(text, summarize, stop, upload, clear, examples, options)


def _summary_panel(has_base: bool) -> tuple[_Output, gr.Button]:
    """The outputs, and the button for the comparison."""
    with gr.Column(elem_id="summary-panel", min_width=300):
        html('<h2 class="small">Summary</h2>')
        html('<p class="status">This summary is not of the text and options as they are now.</p>', elem_id="stale")
        summary = html(EMPTY_SUMMARY, elem_id="summary")
        notice()
        status = html(elem_id="status", elem_classes="status-line")
        with gr.Column(elem_id="results"):
            with gr.Row(elem_id="summary-actions"):
                script_button("Copy summary", "copy", "() => precis.copySummary()")
                script_button("Copy link", "link", "() => precis.copyLink()")
                script_button("Save txt", "save-text", "() => precis.saveText()")
                script_button("Save md", "save-markdown", "() => precis.saveMarkdown()")
                script_button("Read aloud", "read-aloud", "() => precis.readAloud()")
            with gr.Tabs(elem_id="details"):
                with gr.Tab("Evidence"):
                    source = html(elem_id="source")
                with gr.Tab("Base model", visible=has_base):
                    html(compare.INTRODUCTION)
                    compare_button = small_button("Let the base model try", "compare")
                    base = html(elem_id="base")
                with gr.Tab("API"):
                    html('<p class="hint">The same request; all of it in the <a href="../">API reference</a>.</p>')
                    curl, python = _code_block("curl", "As curl"), _code_block("python", "As Python")
    return _Output(summary, status, source, curl, python, base), compare_button


def _code_block(elem_id: str, title: str) -> gr.HTML:
    with gr.Row(elem_classes="code-head"):
        html(f"<h3>{title}</h3>")
        script_button("Copy", f"{elem_id}-copy", f"() => precis.copyCode('{elem_id}')")
    return html(elem_id=elem_id)
