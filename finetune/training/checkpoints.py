"""Checkpoints of an unfinished run: their folder, the run they belong to, and the last complete one."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from finetune.files import write_json

FINGERPRINT = "fingerprint.json"


def checkpoint_folder(output: Path) -> Path:
    """The folder next to `output` for the checkpoints and TensorBoard log of its unfinished run."""
    return output.with_name(f".{output.name}.checkpoints")


def find_checkpoint(folder: Path, run: dict[str, Any]) -> Path | None:
    """The last complete checkpoint in `folder` of the run that `run` describes, or None.

    `run` holds everything that decides the weights. Checkpoints of another run are deleted, and so are incomplete
    ones, which a killed run leaves.
    """
    fingerprint = {"sha256": hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()}
    if _read_json(folder / FINGERPRINT) != fingerprint:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json(folder / FINGERPRINT, fingerprint)
    for checkpoint in reversed(list_checkpoints(folder)):
        # The Trainer writes its state last: if that can be read, the checkpoint is complete.
        if _read_json(checkpoint / "trainer_state.json") is not None:
            return checkpoint
        shutil.rmtree(checkpoint)
    return None


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, oldest first."""
    return sorted(folder.glob("checkpoint-*"), key=step_of)


def step_of(checkpoint: Path) -> int:
    """The optimizer step after which `checkpoint` was saved."""
    return int(checkpoint.name.rpartition("-")[2])


@contextmanager
def remove_if_no_checkpoint(folder: Path) -> Iterator[None]:
    """Removes `folder` if the block fails before there is a checkpoint to resume from."""
    try:
        yield
    except BaseException:
        if not list_checkpoints(folder):
            shutil.rmtree(folder)
        raise


def _read_json(path: Path) -> Any:
    """The content of `path`, or None if the file is missing or incomplete."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
