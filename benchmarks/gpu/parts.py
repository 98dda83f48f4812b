"""The parts, each in a process of its own with its own time limit; what it found is kept as it is found."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.gpu.sizes import sizes
from finetune.files import write_json

ROOT = Path(__file__).parents[2]
LIMITS = {"finetune": 480, "parity": 420, "engine": 480, "service": 180}  # seconds
UNAVAILABLE = 4  # a part's exit status where it cannot be measured here
PATIENCE = 20  # seconds from SIGTERM to SIGKILL
TAIL = 30  # lines of a log that are kept


class Unavailable(Exception):
    """The part cannot be measured here; the text is one sentence."""


def sentence(error: Exception) -> str:
    """The error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def run(part: str, device: str, scratch: Path, limit: float) -> dict:
    """Measures one part: {"seconds", "found"}, and "failed" or "skipped" with a sentence, the former with "log"."""
    scratch.mkdir(parents=True, exist_ok=True)
    result, log = scratch / f"{part}.json", scratch / f"{part}.log"
    result.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.gpu", "--part", part, "--device", device]
    command += ["--scratch", str(scratch)]
    # PyTorch would take a card that is there.
    variables = {} if device == "cuda" else {"CUDA_VISIBLE_DEVICES": ""}
    began = time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **variables}, stdout=file, stderr=file, start_new_session=True
        )
    try:
        process.wait(limit)
    except subprocess.TimeoutExpired:
        failed = f"It was stopped after {limit:.0f} s."
        _end(process)
    except BaseException:
        _end(process)
        raise
    else:
        failed = f"It ended with status {process.returncode}." if process.returncode else None
    row: dict = {"seconds": round(time.monotonic() - began, 1)}
    if result.exists():
        row["found"] = json.loads(result.read_text(encoding="utf-8"))
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    if process.returncode == UNAVAILABLE:
        return {**row, "skipped": lines[-1]}
    if failed:
        return {**row, "failed": failed, "log": lines[-TAIL:]}
    return row


def _end(process: subprocess.Popen) -> None:
    """Ends the part and all that it started; what it started in other process groups it is given the time to end."""
    os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)
    with suppress(ProcessLookupError):  # where nothing of it is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def measure(part: str, device: str, scratch: Path) -> int:
    """The part itself, in its own process; its findings go to a file of its name in `scratch`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))
    module = importlib.import_module(f"benchmarks.gpu.{part}")
    try:
        module.measure(sizes(device), device, scratch, lambda found: write_json(scratch / f"{part}.json", found))
    except Unavailable as error:
        print(error, flush=True)
        return UNAVAILABLE
    return 0
