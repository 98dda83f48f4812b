"""What the tests of bulk runs share: texts, the command, its output, a run in a process of its own."""

import functools
import json
import signal
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

from precis import GenerationParams, Summary
from precis.cli import main
from tests.conftest import ROOT, gazette

ADDED = ["summary", "input_tokens", "output_tokens", "chunks", "truncated", "truncated_tokens", "finish_reason"]
ADDED += ["already_short", "unsupported_language", "score", "min_token_score", "trust"]
TEXTS = [row["document"][: 40 + 29 * (i % 13)] for i, row in enumerate(gazette("validation")[:60])]
SHORT = ["--max-new-tokens", "6"]
PROGRAM = """
import sys
from precis.bulk import job
from precis.cli import main
job.WINDOW_ROWS = 40
sys.exit(main())
"""


def bulk(*arguments) -> int:
    """The command's exit status."""
    return main(["bulk", *map(str, arguments), *SHORT])


def lines(path: Path) -> list[dict]:
    """The objects of a JSONL file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]  # of bytes: at \n and \r only


def start_bulk(*arguments) -> subprocess.Popen:
    """The command in a process, with windows of 40 rows."""
    command = [sys.executable, "-c", PROGRAM, "bulk", *map(str, arguments), *SHORT]
    # A shell's background job ignores SIGINT, and its children would too.
    default = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=default)


class Backwards:
    """Stands for an engine: any text, however odd, in a summary."""

    def submit(self, text: str, _: GenerationParams) -> Future:
        future: Future = Future()
        future.set_result(Summary(text[::-1], [1], 1, 1, 1, 0, "end"))
        return future

    def certificate(self, _: GenerationParams) -> None:
        return None

    def close(self) -> None:
        pass


class Done(NamedTuple):
    """What a run left: its output file, its rejects, and its last sentence."""

    out: Path
    rejects: list[dict]
    said: str
