"""Reads a file in a child process: waits for a free one, starts it, bounds it, and kills it where it takes too long."""

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from bento.memory import memory_limit
from bento.page import limits
from bento.page.admission import AdmissionQueue
from bento.page.readers.errors import DocumentError
from bento.page.readers.formats import READERS

CHECKOUT = Path(__file__).parents[3]  # from where the child imports bento
TOO_MUCH = "takes too long or too much memory to read."


@dataclass(frozen=True)
class Document:
    """A file's text. `note` is a sentence on what was left out of it, or empty."""

    name: str
    text: str
    note: str = ""


def plan_memory(container_bytes: int | None) -> tuple[int, int]:
    """How many children may run at once, and the bytes of each, in a container of this size (None: no limit).

    Together they take a quarter of the container at most: the rest is the model's and the server's.
    """
    total = min(limits.READERS_MEMORY_BYTES, (container_bytes or 1 << 62) // limits.READERS_MEMORY_SHARE)
    children = max(1, min(limits.READERS_AT_ONCE, total // limits.READER_MIN_BYTES))
    return children, total // children


def cpu_seconds(file_bytes: int) -> int:
    """The processor time for a file of this size, so that a small file cannot cost as much as a large one."""
    seconds = limits.READER_BASE_SECONDS + limits.READER_SECONDS_PER_MB * file_bytes / (1 << 20)
    return min(int(seconds), limits.READER_MAX_SECONDS)


_children, _bytes_each = plan_memory(memory_limit())
_queue = AdmissionQueue(rows=_children)  # visitors in turn, so that one with fifty files does not keep the others


async def read_document(path: str | Path, visitor: str = "") -> Document:
    """The text of the visitor's file at `path`, whose suffix names its format. Raises DocumentError.

    Raises AdmissionQueueFull where too many files wait.
    """
    path = Path(path)
    name, suffix = path.name, path.suffix.lower()
    if suffix not in READERS:
        raise DocumentError(f"{name}: this page reads {', '.join(READERS)}.")
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise DocumentError(f"{name} is not here any more; please choose it again.") from None
    if size > limits.MAX_FILE_BYTES:
        raise DocumentError(f"{name} is larger than {limits.MAX_FILE_BYTES >> 20} MB.")
    ticket = _queue.enqueue(1, visitor)
    try:
        await ticket.admitted.wait()
        output = await _run_reader(str(path), suffix, cpu_seconds(size))
    finally:
        _queue.release(ticket)
    try:
        result = json.loads(output)
    except ValueError:
        raise DocumentError(f"{name} {TOO_MUCH}") from None
    if "error" in result:
        raise DocumentError(f"{name} {result['error']}")
    return Document(name, result["text"], result["note"])


async def _run_reader(path: str, suffix: str, seconds: int) -> bytes:
    """What the child prints; empty or cut short where a limit ended it."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bento.page.readers", path, suffix, str(seconds), str(_bytes_each), cwd=CHECKOUT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert child.stdout is not None
    try:
        async with asyncio.timeout(limits.READER_WAIT_FACTOR * seconds + limits.READER_STARTUP_SECONDS):
            output = b""
            while part := await child.stdout.read(1 << 16):
                output += part
                if len(output) > limits.READER_MAX_OUTPUT_BYTES:
                    return b""
            await child.wait()
            return output
    except TimeoutError:
        return b""
    finally:
        if child.returncode is None:
            child.kill()
            await child.communicate()  # also closes the pipe
