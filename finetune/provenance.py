"""Where a run comes from: library versions, git commit, hardware, base model and training data."""

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
from precis.bundle.manifest import BaseModelSource, DataSource, sha256

LIBRARIES = (
    "torch transformers peft datasets tokenizers optimum optimum-onnx onnx rouge-score onnxruntime onnxruntime-gpu"
)


def versions() -> dict[str, str]:
    """Versions of Python and of the installed libraries that can change a result."""
    installed = {dist.metadata["Name"].lower().replace("_", "-"): dist.version for dist in metadata.distributions()}
    return {
        "python": platform.python_version(),
        **{name: installed[name] for name in LIBRARIES.split() if name in installed},
    }


def git_commit() -> str | None:
    """The commit of the working tree, with "+changes" if there are uncommitted ones; None outside git."""
    root = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def hardware() -> str:
    """The name of the processor that trains."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU ({platform.machine()}, {os.cpu_count()} cores)"


def base_model(recipe: Recipe, model: PreTrainedModel) -> BaseModelSource:
    """Name and revision of the base model: the hub's commit, or the SHA-256 of a local folder's weights."""
    weights = Path(recipe.model.name) / "model.safetensors"
    commit = getattr(model.config, "_commit_hash", None)
    return BaseModelSource(
        name=recipe.model.name,
        revision=commit or recipe.model.revision,
        sha256=sha256(weights) if weights.is_file() else None,
    )


def data_source(recipe: Recipe, revision: str | None) -> DataSource:
    """Name, commit and `revision` (the one that was loaded) of a hub data set, or paths and hashes of local files."""
    data = recipe.data
    if data.name is not None:
        # A revision can be a branch, which moves; the commit does not.
        commit = HfApi().dataset_info(data.name, revision=revision).sha
        return DataSource(
            name=data.name, revision=revision, commit=commit, train=data.train, validation=data.validation
        )
    return DataSource(
        train=data.train,
        validation=data.validation,
        train_sha256=_hash(Path(data.train)),
        validation_sha256=_hash(Path(data.validation)) if data.validation else None,
    )


def _hash(path: Path) -> str:
    """The SHA-256 of a file, or of the list of hashes and names of a folder's text files."""
    if not path.is_dir():
        return sha256(path)
    lines = [f"{sha256(file)} {file.relative_to(path)}" for file in sorted(path.rglob("*.txt"))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
