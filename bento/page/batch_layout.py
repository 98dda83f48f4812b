"""The tab "Several texts": its components, and which event calls which handler of `batch`."""

from collections.abc import Callable

import gradio as gr

from bento.page import limits
from bento.page.batch import Batch
from bento.page.batch_rows import to_csv, to_jsonl
from bento.page.components import FILE_TYPES, bind, html, notice, small_button
from bento.page.options import Options
from bento.page.upload_components import without_copies

# Replaces the value of the hidden box with the files that the browser has left out, see static/files.js.
BEGIN = "(files, _, ...options) => [files, precis.refusedFiles(), ...options]"
PLACEHOLDER = (
    '<p class="placeholder">Drop files here. Each becomes a row with its summary and the sentences it rests on, and '
    "all rows can be downloaded as CSV or JSONL.</p>"
)


def batch_tab(batch: Batch, options: Options, max_request_bytes: int) -> None:
    """Builds the tab in the current container; `options` are those of the tab for one text."""
    rows = gr.State(None)
    html(
        f'<p class="intro">Choose or drop up to {limits.MAX_FILES} files, {limits.MAX_FILE_BYTES >> 20} MB each and '
        f"{max_request_bytes >> 20} MB together: {', '.join(kind.removeprefix('.') for kind in FILE_TYPES)}. "
        "Length and options of the first tab apply. Files are deleted when you leave the page, or after an hour.</p>"
    )
    refused = gr.Textbox(visible=False)
    with gr.Row(elem_id="batch-actions"):
        files = without_copies(
            gr.UploadButton(
                "Choose files",
                elem_id="files",
                file_count="multiple",
                file_types=FILE_TYPES,
                variant="primary",
                scale=0,
            )
        )
        again = gr.Button("Summarize again", elem_id="summarize-all", scale=0)
        stop = gr.Button("Stop", elem_id="stop-batch", scale=0)
    notice()
    status = html(elem_id="batch-status", elem_classes="status-line")
    with gr.Row(elem_id="downloads"):
        content = gr.Textbox(visible="hidden", label="What is downloaded")
        _download_button("Download CSV", "summaries.csv", "text/csv", to_csv, rows, content)
        _download_button("Download JSONL", "summaries.jsonl", "application/x-ndjson", to_jsonl, rows, content)
    table = html(PLACEHOLDER, elem_id="table")
    outputs = [table, status, rows]
    bind(files.upload, batch.run, [files, refused, *options], outputs, js=BEGIN)
    bind(again.click, batch.run, [files, refused, *options], outputs, js=BEGIN)
    bind(stop.click, batch.tasks.stop_on_click, None, None)


def _download_button(
    label: str, file_name: str, media_type: str, serialize: Callable[..., str], rows: gr.State, content: gr.Textbox
) -> None:
    """A button that saves the rows. The browser makes the file, so the server keeps no copy of it."""
    button = small_button(label)
    serialized = bind(button.click, serialize, rows, content)
    serialized.then(None, content, js=f"(text) => precis.download('{file_name}', '{media_type}', text)")
