"""Atomic writes: a file or folder is written under a temporary name and then renamed, so a kill leaves old or new.

And a lock against a second process that would write the same.
"""

import ctypes
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from finetune.errors import UserError

RENAME_EXCHANGE = 2  # linux/fs.h
AT_FDCWD = -100  # fcntl.h


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8 to `path`, atomically."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically. Raises ValueError for NaN and infinity, which JSON lacks."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """A new empty folder that replaces `path` if the block succeeds and is removed if it fails.

    Where `path` is a symbolic link, what it points to is replaced.
    """
    path = path.resolve()
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if path.exists():
            _exchange(partial, path)
        else:
            partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def locked(path: Path, message: str) -> Iterator[None]:
    """Holds the file `path`, made for this, during the block. Raises UserError(`message`) if another process holds it.

    The lock of a killed process ends with it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(message) from error
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _exchange(first: Path, second: Path) -> None:
    """Swaps two folders: in one step if the C library has renameat2 (Linux), else in three renames."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):
        status = libc.renameat2(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE)
        if status == 0:
            return
    old = first.with_name(f"{first.name}.old")
    second.rename(old)
    first.rename(second)
    old.rename(first)
