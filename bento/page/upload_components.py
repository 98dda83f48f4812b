"""Gradio's components for files, without its own way with their values: it would download a URL and copy files."""

from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

FileComponent = TypeVar("FileComponent", gr.File, gr.UploadButton)


def without_copies(component: FileComponent) -> FileComponent:
    """The component; its files stay where `uploads.UploadStore` has put them. `routes` checks whose they are.

    On the instance, because Gradio writes a .pyi file beside the source of each subclass of its components.
    """
    component.async_move_resource_to_block_cache = _unchanged  # type: ignore[method-assign]
    return component


def paths_of(value: Any) -> list[str]:
    """The paths of a component's value, which `routes` has checked."""
    files = value if isinstance(value, list) else [value]
    return [file["path"] for file in files if isinstance(file, dict)]


async def _unchanged(url_or_file_path: str | Path | None) -> str | None:
    return None if url_or_file_path is None else str(url_or_file_path)
