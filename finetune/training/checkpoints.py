"""Checkpoints of a run that is not finished: where they lie, which run they belong to, and the last whole one."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from finetune.files import write_json


def folder_of(output: Path) -> Path:
    """The folder beside `output` that holds an unfinished run's checkpoints and TensorBoard log."""
    return output.with_name(f".{output.name}.checkpoints")


def claim(folder: Path, run: dict[str, Any]) -> Path | None:
    """Makes `folder` hold checkpoints of `run` (all that decides its weights) and returns the last whole one.

    What another run left is removed, and so is a checkpoint that a kill left half written.
    """
    owner = folder / "run.json"
    digest = hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()
    if _read(owner) != {"sha256": digest}:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json(owner, {"sha256": digest})
    found = sorted(folder.glob("checkpoint-*"), key=step_of, reverse=True)
    # The Trainer writes its state last: where that can be read, all else is there.
    while found and _read(found[0] / "trainer_state.json") is None:
        shutil.rmtree(found.pop(0))
    return found[0] if found else None


@contextmanager
def kept_if_any(folder: Path) -> Iterator[None]:
    """Removes `folder` where the block fails before there is a checkpoint to go on from."""
    try:
        yield
    except BaseException:
        if not any(folder.glob("checkpoint-*")):
            shutil.rmtree(folder)
        raise


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _read(path: Path) -> Any:
    """The JSON in `path`, or None where there is no whole one."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
