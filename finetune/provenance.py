"""Where a run comes from: library versions, git commit, hardware, base model and training data."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch
from transformers import PreTrainedModel

from finetune.data.files import hash_files
from finetune.data.loading import Pairs
from finetune.recipe import Recipe
from precis.bundle.manifest import BaseModelSource, DataSource

LIBRARIES = (
    "torch transformers peft datasets tokenizers optimum optimum-onnx onnx onnxscript rouge-score onnxruntime "
    "onnxruntime-gpu"
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
    weights = sorted(Path(recipe.model.name).glob("*.safetensors"))
    commit = getattr(model.config, "_commit_hash", None)
    return BaseModelSource(
        name=recipe.model.name,
        revision=commit or recipe.model.revision,
        sha256=hash_files(weights, weights[0].parent) if weights else None,
    )


def data_source(recipe: Recipe, pairs: Pairs) -> DataSource:
    """Name, revision and commit of a hub data set, or paths and hashes of local files, as they were loaded."""
    data = recipe.data
    if data.name is not None:
        return DataSource(
            name=data.name,
            revision=pairs.revision,
            commit=pairs.commit,
            train=data.train,
            validation=data.validation,
        )
    return DataSource(
        train=data.train,
        validation=data.validation,
        train_sha256=pairs.sha256["train"],
        validation_sha256=pairs.sha256.get("validation"),
    )
