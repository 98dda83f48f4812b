"""The unfinished output: what is written is told in a journal, and what the journal does not tell is cut off again.

A folder `.OUT.partial` beside OUT (or, for an address, in the working directory) holds the rows, the rejects and the
journal. A window's bytes are on the disk before its line in the journal is, so that a run that was killed at any moment
goes on behind the last window that is whole.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from precis.bulk.errors import BulkError
from precis.bulk.files import exists, move
from precis.bulk.run import Mark, Part


class Journal:
    """One unfinished output, held by one process. Raises BulkError where another holds it or it is another job's."""

    def __init__(self, out: str, job: dict[str, Any], header: bytes) -> None:
        self.out, self.rejects = out, f"{out}.rejects.jsonl"
        name = f".{out.rsplit('/', 1)[-1]}.partial"
        self.folder = Path(name) if "://" in out else Path(out).with_name(name)
        self._rows_path, self._rejects_path = self.folder / "rows", self.folder / "rejects.jsonl"
        if not self.folder.exists():
            for path in (self.out, self.rejects):
                if exists(path):
                    raise BulkError(f"{path} is there already; remove it or choose another name.")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lines = (self.folder / "journal.jsonl").open("a+b")
        except OSError as error:
            raise BulkError(f"{self.folder} cannot be written: {error.strerror}.") from error
        try:
            fcntl.flock(self._lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BulkError(f"Another run is writing {out}.") from error
        self.mark = self._resume(job, header)

    def _resume(self, job: dict[str, Any], header: bytes) -> Mark:
        self._lines.seek(0)
        whole = self._lines.read().rpartition(b"\n")[0]
        entries = [json.loads(line) for line in whole.splitlines()]
        if len(entries) < 2:  # killed at its very beginning
            self._lines.truncate(0)
            self._rows, self._rejects = self._open(self._rows_path, 0), self._open(self._rejects_path, 0)
            self._append(self._rows, header)
            self._tell(job)
            return self._tell_mark(Mark(bytes=len(header)))
        for key, value in entries[0].items():
            if job.get(key) != value:
                hint = f"repeat that command, or remove {self.folder} to start anew"
                raise BulkError(f"{self.out} was begun with another {key}; {hint}.")
        self._lines.truncate(len(whole) + 1)
        mark = Mark(**entries[-1])
        if not mark.finished:
            self._rows = self._open(self._rows_path, mark.bytes)
            self._rejects = self._open(self._rejects_path, mark.reject_bytes)
        return mark

    def _open(self, path: Path, size: int) -> IO[bytes]:
        file = path.open("ab")
        if file.tell() < size:
            raise BulkError(f"{path} was altered; remove {self.folder} to start anew.")
        file.truncate(size)
        return file

    def add(self, part: Part) -> None:
        """Adds what comes next."""
        self._append(self._rows, part.rows)
        self._append(self._rejects, part.rejects)
        old = self.mark
        self.mark = self._tell_mark(
            Mark(
                file=part.file,
                row=part.row,
                read=part.read,
                written=old.written + part.written,
                rejected=old.rejected + part.rejected,
                bytes=old.bytes + len(part.rows),
                reject_bytes=old.reject_bytes + len(part.rejects),
            )
        )

    def finish(self, make: Callable[[Path], Path]) -> None:
        """Moves the files to their places; `make` gives the final file for the rows. Can be repeated after a kill."""
        if not self.mark.finished:
            self._rows.close()
            self._rejects.close()
            self.mark = self._tell_mark(Mark(**{**asdict(self.mark), "finished": True}))
        if self.mark.rejected and self._rejects_path.exists():
            move(self._rejects_path, self.rejects)
        if self._rows_path.exists():
            made = make(self._rows_path)
            with made.open("rb") as file:
                os.fsync(file.fileno())
            move(made, self.out)
        shutil.rmtree(self.folder)
        self._lines.close()

    def _tell_mark(self, mark: Mark) -> Mark:
        self._tell(asdict(mark))
        return mark

    def _tell(self, entry: dict[str, Any]) -> None:
        self._append(self._lines, json.dumps(entry).encode() + b"\n")

    @staticmethod
    def _append(file: IO[bytes], data: bytes) -> None:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
