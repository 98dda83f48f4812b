"""The Gradio page at /ui. `bento.page.app.mount` adds it to an ASGI app."""
