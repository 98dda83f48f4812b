"""Builds and writes the manifest of a bundle: where it comes from, where it runs, and the hash of every other file."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from transformers import PreTrainedTokenizerFast

from export.checks import Run
from finetune.evaluation.sentence_ranker import SentenceRanker
from finetune.files import write_json
from finetune.provenance import git_commit, versions
from precis import Engine
from precis.bundle.manifest import FORMAT, DataSource, Manifest, sha256
from precis.bundle.names import MANIFEST, UNLISTED_FILES


def new_manifest(
    run: Run,
    precision: str,
    model: Literal["fine-tuned", "base"],
    tokenizer: PreTrainedTokenizerFast,
    ranker: SentenceRanker | None,
) -> Manifest:
    """The part of the manifest that is known before the bundle is loaded and proved."""
    info, recipe = run.info, run.info.recipe
    settings = recipe.model_dump(mode="json")
    return Manifest(
        format=FORMAT,
        name=run.folder.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        prefix=recipe.model.prefix,
        max_input_tokens=recipe.data.max_document_tokens,
        clean_up_tokenization_spaces=bool(tokenizer.clean_up_tokenization_spaces),
        sentence_features=ranker.features if ranker else {},
        model=model,
        precision=precision,
        base_model=info.base_model,
        data=DataSource.model_validate(info.data.model_dump(mode="json", exclude_unset=True)),
        recipe=settings,
        lora=settings["lora"],
        trained_on=info.hardware,
        training_seconds=info.training_seconds,
        git_commit={"finetune": info.git_commit, "export": git_commit()},
        versions={"finetune": info.versions, "export": versions()},
        rouge=run.rouge,
        files={},
    )


def with_placement(manifest: Manifest, engine: Engine) -> Manifest:
    """The manifest with the execution providers on which ONNX Runtime runs the bundle here."""
    return manifest.model_copy(
        update={
            "execution_provider": engine.providers[0],
            "providers": engine.providers,
            "node_placement": engine.node_placement,
        }
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes manifest.json with the SHA-256 of every other file in `folder`."""
    files = {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.name not in UNLISTED_FILES}
    write_json(folder / MANIFEST, manifest.model_copy(update={"files": files}).as_json())
