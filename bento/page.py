"""The Gradio page: a text in, its summary growing, and in words what was read."""

import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported

import gradio as gr
from fastapi import FastAPI

from engine import Engine, EngineError, Generation, Summary
from engine.generation import MAX_BEAMS

EXAMPLES = Path(__file__).with_name("examples.json")
# No font is fetched from elsewhere: the theme's own default names Google's.
FONTS = ["ui-sans-serif", "system-ui", "sans-serif"]


def mount(app: FastAPI, engine: Engine) -> FastAPI:
    """`app` with the page at /ui."""
    theme = gr.themes.Default(font=FONTS, font_mono=["ui-monospace", "monospace"])
    return gr.mount_gradio_app(app, _page(engine), path="/ui", theme=theme, footer_links=[])


def _page(engine: Engine) -> gr.Blocks:
    async def summarize(text: str, beams: int, max_new_tokens: int) -> AsyncIterator[tuple[str, str]]:
        began = time.perf_counter()
        shown = ""
        try:
            generation = Generation(num_beams=int(beams), max_new_tokens=int(max_new_tokens))
            async for piece in engine.stream(text, generation):
                if isinstance(piece, Summary):
                    yield piece.text, _in_words(piece, time.perf_counter() - began)
                else:
                    shown += piece
                    yield shown, "Writing…"
        except EngineError as error:
            yield shown, f"**{error}**"

    with gr.Blocks(title="Precis", analytics_enabled=False) as page:
        gr.Markdown(f"# Precis\nPaste an article and read its gist. {_about(engine)}")
        with gr.Row():
            with gr.Column():
                text = gr.Textbox(label="Text", lines=14, max_lines=30, placeholder="Paste an article here")
                with gr.Accordion("Options", open=False):
                    beams = gr.Slider(1, MAX_BEAMS, value=1, step=1, label="Beams", info="1 is greedy search")
                    longest = gr.Slider(8, 256, value=64, step=1, label="Longest summary, in tokens")
                button = gr.Button("Summarize", variant="primary")
            with gr.Column():
                summary = gr.Textbox(label="Summary", elem_id="summary", lines=5, interactive=False, buttons=["copy"])
                details = gr.Markdown(elem_id="details")
        examples = json.loads(EXAMPLES.read_text(encoding="utf-8"))
        gr.Examples(
            [[example["document"]] for example in examples],
            inputs=[text],
            example_labels=[example["title"] for example in examples],
            label="Examples (invented, from the Gazette set)",
        )
        inputs, outputs = [text, beams, longest], [summary, details]
        button.click(summarize, inputs, outputs, concurrency_limit=8, api_name=False, show_progress="minimal")
    return page


def _in_words(summary: Summary, seconds: float) -> str:
    """How the summary came about, as a sentence a visitor understands."""
    words = [f"{summary.output_tokens} tokens from {summary.input_tokens} in {seconds:.1f} s"]
    if summary.pieces > 1:
        words.append(f"the text is longer than the model reads, so it was summarized in {summary.pieces} pieces")
    if summary.truncated_tokens:
        words.append(f"{summary.truncated_tokens} tokens were not read")
    if summary.finish_reason == "length":
        words.append("cut at the longest length")
    return "; ".join(words) + "."


def _about(engine: Engine) -> str:
    manifest = engine.bundle.manifest
    scores = manifest.get("rouge", {}).get("finetuned", {})
    rouge = f" ROUGE-L {scores['rougeL']:.1f} on its validation set." if scores else ""
    name = f"Model: {manifest.get('name')}, {manifest.get('precision')}."
    return f"{name}{rouge} It is small and makes mistakes: check what matters."
