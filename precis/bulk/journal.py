"""The unfinished output of a bulk run, which survives a kill at any moment.

A folder `.OUT.partial` beside OUT (for an address: in the working directory) holds the rows, the rejects and a journal.
A window's bytes are on the disk before its line is in the journal, so a run continues after the last complete window:
bytes that the journal does not mention are cut off.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

from precis.bulk.errors import BulkError
from precis.bulk.files import exists, move
from precis.bulk.job import Checkpoint, Part


class Journal:
    """One unfinished output, locked by one process; `checkpoint` is where the run continues.

    `identity` is what a run must have in common with the one it continues. Raises BulkError if that differs, or another
    process holds the lock.
    """

    def __init__(self, out: str, identity: dict[str, Any], header: bytes) -> None:
        self.out, self.rejects = out, f"{out}.rejects.jsonl"
        name = f".{out.rsplit('/', 1)[-1]}.partial"
        self.folder = Path(name) if "://" in out else Path(out).with_name(name)
        self._rows_path, self._rejects_path = self.folder / "rows", self.folder / "rejects.jsonl"
        if not self.folder.exists():
            for path in (self.out, self.rejects):
                if exists(path):
                    raise BulkError(f"{path} already exists; remove it or choose another name.")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._journal = (self.folder / "journal.jsonl").open("a+b")
        except OSError as error:
            raise BulkError(f"{self.folder} cannot be written: {error.strerror}.") from error
        try:
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BulkError(f"Another run is writing {out}.") from error
        except OSError as error:  # of some network file systems
            raise BulkError(f"{self.folder} cannot be locked: {error.strerror}.") from error
        self.checkpoint = self._resume(identity, header)

    def _resume(self, identity: dict[str, Any], header: bytes) -> Checkpoint:
        self._journal.seek(0)
        complete = self._journal.read().rpartition(b"\n")[0]
        try:
            entries = [json.loads(line) for line in complete.splitlines()]
            checkpoint = Checkpoint(**entries[-1]) if len(entries) > 1 else Checkpoint()
        except (ValueError, TypeError) as error:  # damaged, or of another version
            raise BulkError(f"{self._journal.name} was altered; remove {self.folder} to start again.") from error
        if len(entries) < 2:  # new, or killed at its very beginning
            self._journal.truncate(0)
            self._rows, self._rejects = self._open(self._rows_path, 0), self._open(self._rejects_path, 0)
            _append(self._rows, header)
            self._log(identity)
            return self._log_checkpoint(Checkpoint(output_bytes=len(header)))
        for key, value in entries[0].items():
            if identity.get(key) != value:
                hint = f"repeat that command, or remove {self.folder} to start again"
                raise BulkError(f"{self.out} was started with a different {key}; {hint}.")
        self._journal.truncate(len(complete) + 1)
        if not checkpoint.finished:
            self._rows = self._open(self._rows_path, checkpoint.output_bytes)
            self._rejects = self._open(self._rejects_path, checkpoint.reject_bytes)
        return checkpoint

    def _open(self, path: Path, size: int) -> IO[bytes]:
        file = path.open("ab")
        if file.tell() < size:
            raise BulkError(f"{path} was altered; remove {self.folder} to start again.")
        file.truncate(size)
        return file

    def add(self, part: Part) -> None:
        """Appends the next part. Raises BulkError if it is another one: a part was lost or came twice."""
        old = self.checkpoint
        expected = (old.next_file, 0 if old.file_ended else old.row)
        if (part.file, part.after) != expected:
            raise BulkError(
                f"Rows after row {part.after} of input {part.file + 1} came where those after row {expected[1]} "
                f"of input {expected[0] + 1} should; the same command continues there."
            )
        _append(self._rows, part.output)
        _append(self._rejects, part.rejects)
        self.checkpoint = self._log_checkpoint(
            Checkpoint(
                file=part.file,
                row=part.row,
                file_ended=part.last,
                bytes_read=part.bytes_read,
                written=old.written + part.written,
                rejected=old.rejected + part.rejected,
                output_bytes=old.output_bytes + len(part.output),
                reject_bytes=old.reject_bytes + len(part.rejects),
            )
        )

    def finish(self, make_final: Callable[[Path], Path]) -> None:
        """Moves both files to their places; `make_final` makes the final file from the rows. A kill in it is safe."""
        if not self.checkpoint.finished:
            self._rows.close()
            self._rejects.close()
            self.checkpoint = self._log_checkpoint(replace(self.checkpoint, finished=True))
        if self.checkpoint.rejected and self._rejects_path.exists():
            move(self._rejects_path, self.rejects)
        if self._rows_path.exists():
            final = make_final(self._rows_path)
            with final.open("rb") as file:
                os.fsync(file.fileno())
            move(final, self.out)
        shutil.rmtree(self.folder)
        self._journal.close()

    def _log_checkpoint(self, checkpoint: Checkpoint) -> Checkpoint:
        self._log(asdict(checkpoint))
        return checkpoint

    def _log(self, entry: dict[str, Any]) -> None:
        _append(self._journal, json.dumps(entry).encode() + b"\n")


def _append(file: IO[bytes], data: bytes) -> None:
    """Writes `data` to the disk itself."""
    file.write(data)
    file.flush()
    os.fsync(file.fileno())
