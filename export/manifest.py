"""The manifest of a bundle: where it comes from, how it runs, and the hash of every other file."""

from datetime import UTC, datetime
from pathlib import Path

from export.checks import Run
from finetune.files import write_json
from finetune.provenance import git_commit, versions
from precis import Engine
from precis.bundle.manifest import FORMAT, sha256
from precis.bundle.names import MANIFEST, UNLISTED_FILES


def describe(run: Run, precision: str, **more: object) -> dict:
    """All of the manifest that is known before the bundle has been loaded and proved."""
    info = run.info
    return {
        "format": FORMAT,
        "name": run.folder.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "prefix": run.recipe.model.prefix,
        "max_input_tokens": run.recipe.data.max_document_tokens,
        "precision": precision,
        "base_model": info["base_model"],
        "data": info["data"],
        "recipe": info["recipe"],
        "lora": info["recipe"]["lora"],
        "trained_on": info["hardware"],
        "training_seconds": info["training_seconds"],
        "git_commit": {"finetune": info["git_commit"], "export": git_commit()},
        "versions": {"finetune": info["versions"], "export": versions()},
        "rouge": run.rouge,
        **more,
    }


def running(engine: Engine) -> dict:
    """Where ONNX Runtime runs the graphs on the machine that proves them."""
    return {
        "execution_provider": engine.providers[0],
        "providers": engine.providers,
        "node_placement": engine.node_placement,
    }


def seal(folder: Path, manifest: dict) -> None:
    """Writes the manifest with the hash of every other file in the bundle."""
    files = {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.name not in UNLISTED_FILES}
    write_json(folder / MANIFEST, {**manifest, "files": files})
