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
LIMITS = {"engine": 330, "steps": 60, "service": 90, "finetune": 240, "parity": 180}  # seconds: a quarter of an hour
INTERRUPTED = "It was interrupted."
UNAVAILABLE = 4  # a part's exit status where it cannot be measured here
PATIENCE = 20  # seconds from SIGTERM to SIGKILL
TAIL = 30  # lines of a log that are kept


class Unavailable(Exception):
    """The part cannot be measured here; the text is one sentence."""


class Stopped(BaseException):
    """The part is to end, and no failure of what it measures."""


def sentence(error: Exception) -> str:
    """The error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def run(part: str, device: str, scratch: Path, limit: float) -> dict:
    """Measures one part: {"seconds", "found"}, and "failed" or "skipped" with a sentence, the former with "log".

    A KeyboardInterrupt ends the part, which is then told as INTERRUPTED with what it had found.
    """
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
    except KeyboardInterrupt:
        failed = INTERRUPTED
        _end(process)
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
    """Ends the part, which is given the time to end what it started, and then what is left of its process group."""
    # Not the group: what dies before the part would look to it like a failure.
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)
    with suppress(ProcessLookupError):  # where nothing of it is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def measure(part: str, device: str, scratch: Path) -> int:
    """The part itself, in its own process; its findings go to a file of its name in `scratch`."""
    signal.signal(signal.SIGTERM, _stop)
    module = importlib.import_module(f"benchmarks.gpu.{part}")
    try:
        module.measure(sizes(device), device, scratch, lambda found: write_json(scratch / f"{part}.json", found))
    except Unavailable as error:
        print(error, flush=True)
        return UNAVAILABLE
    except Stopped:
        print("Stopped.", flush=True)
        return 1
    return 0


def _stop(*_) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough, and must not disturb the ending
    raise Stopped
