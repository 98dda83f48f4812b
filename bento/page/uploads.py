"""Uploaded files on disk: where they lie, whose they are, how much they may take, and when they are deleted."""

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bento.page import limits
from bento.page.visitors import Budget

PREFIX = "precis-uploads-"  # of the folder of one server process
LOCK = ".lock"  # held as long as the process lives, so that a later one can tell that the folder is left over
MAX_NAME_BYTES = 200
FILE_OVERHEAD_BYTES = 16 << 10  # of a file's own folder and record, so that empty files are counted, too
UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\]")


class NotUploaded(Exception):
    """The path is not that of a file which this session has uploaded."""


@dataclass
class _Upload:
    visitor: str
    size: int
    stored: float  # time.monotonic()
    session: str | None = None


class UploadStore:
    """The files that visitors have uploaded to this process, in a folder of its own below `parent`.

    A path holds a secret that only its uploader gets, and the first session that uses it owns it. For one event
    loop; not thread-safe, except `save`.
    """

    def __init__(self, parent: Path | None = None) -> None:
        parent = parent or Path(tempfile.gettempdir())
        _delete_leftovers(parent)
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent)).resolve()
        self._lock = (self.folder / LOCK).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        # The other half of a small tmpfs stays free: for the copy of a file that is being stored, and for others.
        total = min(limits.MAX_STORED_BYTES, shutil.disk_usage(parent).free // 2)
        self.budget = Budget(total, total // 2)
        self._uploads: dict[str, _Upload] = {}

    @property
    def max_request_bytes(self) -> int:
        """The largest sum of files that one request may bring."""
        return min(limits.MAX_UPLOAD_BYTES, self.budget.share)

    def save(self, name: str, content: BinaryIO) -> Path:
        """Writes a file and returns its path; `add` makes it usable. Raises OSError."""
        folder = self.folder / secrets.token_urlsafe(16)
        folder.mkdir()
        path = folder / safe_name(name)
        try:
            with path.open("xb") as file:
                shutil.copyfileobj(content, file)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return path

    def add(self, path: Path, visitor: str) -> None:
        """Counts a saved file as the visitor's. Raises BudgetExceeded, and deletes it, where it would be too much."""
        size = path.stat().st_size + FILE_OVERHEAD_BYTES
        try:
            self.budget.take(visitor, size)
        except BaseException:
            shutil.rmtree(path.parent, ignore_errors=True)
            raise
        self._uploads[str(path)] = _Upload(visitor, size, time.monotonic())

    def claim(self, path: object, session: str) -> Path:
        """The path, if this session has uploaded it. Raises NotUploaded."""
        upload = self._uploads.get(path) if isinstance(path, str) else None
        if upload is None or upload.session not in (None, session):
            raise NotUploaded
        upload.session = session
        return Path(str(path))

    def delete(self, path: str | Path) -> None:
        """Deletes an uploaded file; does nothing for any other path."""
        if upload := self._uploads.pop(str(path), None):
            self.budget.give_back(upload.visitor, upload.size)
            shutil.rmtree(Path(path).parent, ignore_errors=True)

    def delete_session(self, session: str) -> None:
        """Deletes the files of a visit that has ended."""
        self._delete_where(lambda upload: upload.session == session)

    def delete_old(self) -> None:
        """Deletes files past their time, and those that no session has used soon after their upload."""
        now = time.monotonic()
        self._delete_where(
            lambda upload: (
                now - upload.stored
                > (limits.UPLOAD_LIFETIME_SECONDS if upload.session else limits.UNUSED_UPLOAD_SECONDS)
            )
        )

    def close(self) -> None:
        """Deletes all files and the folder."""
        self._uploads.clear()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()

    def _delete_where(self, condition: Callable[[_Upload], bool]) -> None:
        for path in [path for path, upload in self._uploads.items() if condition(upload)]:
            self.delete(path)


def safe_name(name: str) -> str:
    """A file name without folders and control characters, its suffix kept, short enough for every file system."""
    name = UNSAFE.sub("_", re.split(r"[/\\]", name)[-1]).strip(". ") or "file"
    stem, suffix = os.path.splitext(name)
    suffix = suffix if len(suffix) <= 8 else ""
    stem = stem if suffix else name
    room = MAX_NAME_BYTES - len(suffix.encode())
    return stem.encode("utf-8", "replace")[:room].decode("utf-8", "ignore") + suffix


def _delete_leftovers(parent: Path) -> None:
    """Deletes the folders of processes that were killed before they could do it."""
    for folder in parent.glob(PREFIX + "*"):
        with contextlib.suppress(OSError), (folder / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
