"""Where a run came from: library versions, git commit, hardware, and which model and data were read."""

import hashlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch
from huggingface_hub import HfApi
from transformers import PreTrainedModel

from finetune.recipe import Recipe

LIBRARIES = (
    "torch",
    "transformers",
    "peft",
    "datasets",
    "tokenizers",
    "optimum",
    "optimum-onnx",
    "onnx",
    "rouge-score",
)
RUNTIMES = ("onnxruntime", "onnxruntime-gpu")


def versions() -> dict[str, str]:
    """Installed versions of what can change a result."""
    installed = {dist.metadata["Name"].lower().replace("_", "-"): dist.version for dist in metadata.distributions()}
    found = {name: installed[name] for name in (*LIBRARIES, *RUNTIMES) if name in installed}
    return {"python": platform.python_version(), **found}


def git_commit() -> str | None:
    """The commit of the working tree, with "+changes" where it differs; None outside git."""
    root = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def hardware() -> str:
    """The processor that trained, in words."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU ({platform.machine()}, {os.cpu_count()} cores)"


def base_model(recipe: Recipe, model: PreTrainedModel) -> dict[str, str | None]:
    """Name and revision of the base: the hub's commit, or the weights' hash where it is a folder."""
    weights = Path(recipe.model.name) / "model.safetensors"
    commit = getattr(model.config, "_commit_hash", None)
    digest = _sha256(weights) if weights.is_file() else None
    return {"name": recipe.model.name, "revision": commit or recipe.model.revision, "sha256": digest}


def data_set(recipe: Recipe, revision: str | None) -> dict[str, str | None]:
    """Name, `revision` as loaded and commit of the data set on the hub, or its files and their hashes."""
    data = recipe.data
    if data.name is not None:
        # The revision may be a branch, which moves on.
        commit = HfApi().dataset_info(data.name, revision=revision).sha
        splits = {"train": data.train, "validation": data.validation}
        return {"name": data.name, "revision": revision, "commit": commit, **splits}
    files = {"train": data.train, "validation": data.validation}
    hashes = {f"{key}_sha256": _sha256(Path(file)) for key, file in files.items() if file}
    return {**files, **hashes}


def _sha256(path: Path) -> str:
    """Of a file, or of the names and hashes of a folder's text files."""
    if path.is_dir():
        listed = [f"{_sha256(file)} {file.relative_to(path)}" for file in sorted(path.rglob("*.txt"))]
        return hashlib.sha256("\n".join(listed).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
