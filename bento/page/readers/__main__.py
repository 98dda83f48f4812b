"""The child process: python -m bento.page.readers FILE SUFFIX CPU_SECONDS BYTES.

It prints {"text", "note"} or {"error"} as JSON.
"""

import contextlib
import json
import os
import resource
import sys
from pathlib import Path

from bento.page.limits import MAX_DOCUMENT_CHARACTERS, READER_NICENESS
from bento.page.readers.characters import normalize
from bento.page.readers.errors import DocumentError
from bento.page.readers.formats import READERS


def main(path: str, suffix: str, cpu_seconds: str, memory_bytes: str) -> None:
    """Reads the file under limits on processor time and memory; the child can write no file at all."""
    os.nice(READER_NICENESS)  # requests come first
    with contextlib.suppress(OSError):  # not on every system
        Path("/proc/self/oom_score_adj").write_text("1000")  # the kernel ends this process before the server
    for limit, value in (
        (resource.RLIMIT_CPU, int(cpu_seconds)),
        (resource.RLIMIT_AS, int(memory_bytes)),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    try:
        text, note = READERS[suffix](Path(path).read_bytes())
        text = normalize(text)
        if not text:
            raise DocumentError("has no text in it.")
        if len(text) > MAX_DOCUMENT_CHARACTERS:
            note = (
                f"{note} Only the first {MAX_DOCUMENT_CHARACTERS:,} of its {len(text):,} characters were read.".strip()
            )
            text = text[:MAX_DOCUMENT_CHARACTERS].rsplit(maxsplit=1)[0]
        result = {"text": text, "note": note}
    except DocumentError as error:
        result = {"error": str(error)}
    except Exception as error:  # a broken file makes the libraries raise all kinds of errors
        if isinstance(error, MemoryError) or _peak_bytes() > int(memory_bytes) / 2:  # lxml has errors of its own for it
            result = {"error": "takes too much memory to read."}
        else:
            result = {"error": f"cannot be read as {suffix.removeprefix('.')}; it may be damaged."}
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(result))


def _peak_bytes() -> int:
    """The most that this process has had in memory; getrusage would count what the server had when it forked, too."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return 0


if __name__ == "__main__":
    main(*sys.argv[1:])
