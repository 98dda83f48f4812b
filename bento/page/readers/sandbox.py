"""Reads a file in a child process: starts it, waits for its answer, and kills it where it takes too long."""

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from bento.page import limits
from bento.page.readers.formats import READERS, DocumentError

CHECKOUT = Path(__file__).parents[3]  # from where the child imports bento

_free_readers = asyncio.Semaphore(limits.READERS_AT_ONCE)


@dataclass(frozen=True)
class Document:
    """A file's text. `note` is a sentence on what was left out of it, or empty."""

    name: str
    text: str
    note: str = ""


async def read_document(path: str | Path) -> Document:
    """The text of the file at `path`, whose suffix names its format. Raises DocumentError."""
    name, suffix = Path(path).name, Path(path).suffix.lower()
    if suffix not in READERS:
        raise DocumentError(f"{name}: this page reads {', '.join(READERS)}.")
    if Path(path).stat().st_size > limits.MAX_FILE_BYTES:
        raise DocumentError(f"{name} is larger than {limits.MAX_FILE_BYTES >> 20} MB.")
    async with _free_readers:
        output = await _run_reader(str(path), suffix)
    try:
        result = json.loads(output)
    except ValueError:
        raise DocumentError(f"{name} takes too long or too much memory to read.") from None
    if "error" in result:
        raise DocumentError(f"{name} {result['error']}")
    return Document(name, result["text"], result["note"])


async def _run_reader(path: str, suffix: str) -> bytes:
    """What the child prints; empty or cut short where a limit ended it."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bento.page.readers", path, suffix, cwd=CHECKOUT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        output, _ = await asyncio.wait_for(child.communicate(), limits.READER_SECONDS + limits.READER_STARTUP_SECONDS)
        return output
    except TimeoutError:
        return b""
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
