"""Files and folders written beside their place and renamed into it: a kill leaves the old or the new."""

import ctypes
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RENAME_EXCHANGE = 2  # linux/fs.h
AT_FDCWD = -100  # fcntl.h


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8 to `path` by way of a file beside it."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """A new empty folder that takes the place of `path` when the block ends well, and vanishes when it does not."""
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


def _exchange(left: Path, right: Path) -> None:
    """Swaps two folders, in one step where the C library has renameat2 (Linux)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):
        status = libc.renameat2(AT_FDCWD, os.fsencode(left), AT_FDCWD, os.fsencode(right), RENAME_EXCHANGE)
        if status == 0:
            return
    aside = left.with_name(f"{left.name}.old")
    right.rename(aside)
    left.rename(right)
    aside.rename(left)
