"""Colours, fonts and shapes of Gradio's own components; static/page.css reads them as CSS variables for the rest."""

import json
from pathlib import Path

import gradio as gr

# Fonts of the visitor's system, so that the page fetches none.
SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]
VARIABLES = (
    Path(__file__).parent / "static/theme.json"
)  # Gradio's variables: a value, or one for light and one for dark


def theme() -> gr.themes.Base:
    """Gradio's base theme with the page's variables."""
    values: dict[str, str] = {}
    for name, value in json.loads(VARIABLES.read_text(encoding="utf-8")).items():
        if isinstance(value, str):
            values[name] = value
        else:
            values[name], values[f"{name}_dark"] = value
    return gr.themes.Base(primary_hue="emerald", neutral_hue="stone", font=SANS, font_mono=MONO).set(**values)
