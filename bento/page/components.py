"""Gradio's components and events as the page uses them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from bento.page import limits
from bento.page.readers.formats import READERS

STATIC = Path(__file__).parent / "static"
SCRIPTS = ("browser.js", "connection.js", "files.js", "session.js")  # in this order
STYLES = ("page.css", "results.css", "print.css")
FILE_TYPES = list(READERS)


def static(name: str) -> str:
    """The text of a file in static/."""
    return (STATIC / name).read_text(encoding="utf-8")


def head(
    max_request_bytes: int,
    option_names: tuple[str, ...],
    default_options: list[Any],
    view_names: tuple[str, ...],
    empty_summary: str,
) -> str:
    """The page's scripts, after the values of the server that they need. The names are the components' `elem_id`."""
    values = {
        "limits": {
            "types": FILE_TYPES,
            "maxFiles": limits.MAX_FILES,
            "maxFileBytes": limits.MAX_FILE_BYTES,
            "maxRequestBytes": max_request_bytes,
        },
        "optionNames": option_names,
        "defaultOptions": default_options,
        "viewNames": view_names,
        "emptySummary": empty_summary,
    }
    # In a script "</" would end it.
    definition = f"window.precis = {json.dumps(values)};".replace("</", "<\\/")
    return f"<script>{definition}\n{''.join(map(static, SCRIPTS))}</script>"


def html(value: str = "", **options: Any) -> gr.HTML:
    """Markup without Gradio's own style."""
    return gr.HTML(value, apply_default_css=False, **options)


def notice() -> gr.HTML:
    """The line for what the browser reports, see static/connection.js; the tab's status line comes next."""
    return html('<p class="notice"></p>', elem_classes="notice-line")


def bind(event: Callable[..., Any], handler: Callable[..., Any], inputs: Any, outputs: Any, **options: Any) -> Any:
    """Calls `handler` on `event`. It may be called again while it runs, since a newer task stops the older one.

    The handler checks the values itself: an error of Gradio's own checks would be printed with the visitor's text.
    """
    options |= {
        "show_progress": "hidden", "trigger_mode": "multiple", "api_visibility": "private", "preprocess": False
    }  # fmt: skip
    return event(handler, inputs, outputs, **options)


def small_button(label: str, elem_id: str | None = None) -> gr.Button:
    """A button no wider than its label."""
    return gr.Button(label, elem_id=elem_id, elem_classes="small", size="sm", scale=0, min_width=0)


def script_button(label: str, elem_id: str, script: str, outputs: Any = None) -> None:
    """A small button that only the browser acts on; `script` returns the values of `outputs`."""
    small_button(label, elem_id).click(None, None, outputs, js=script)
