"""What the tests of bulk runs share: texts, the command, its output, a run in a process of its own."""

import functools
import json
import signal
import subprocess
import sys
from pathlib import Path

from precis.cli import main
from tests.conftest import ROOT, gazette

ADDED = ["summary", "input_tokens", "output_tokens", "chunks", "truncated", "truncated_tokens", "finish_reason"]
ADDED += ["already_short", "unsupported_language"]
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
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def start_bulk(*arguments) -> subprocess.Popen:
    """The command in a process, with windows of 40 rows."""
    command = [sys.executable, "-c", PROGRAM, "bulk", *map(str, arguments), *SHORT]
    # A shell's background job ignores SIGINT, and its children would too.
    default = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=default)
