"""Runs the benchmarks on a GPU in parts with time limits, and writes docs/gpu.md. `make gpu-check PYTHON=python3`

Each part is a process of its own. Its result is written to benchmarks/results/gpu-DEVICE.json when it has ended, well
or not, and docs/gpu.md anew from all such files. A part that has a result is not measured again; remove the file, or
the part from it, to measure it again. All parts together take a quarter of an hour at most.
"""

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.gpu_page import PAGE, write_page
from benchmarks.machine import describe, git_commit
from finetune.files import write_json

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results"
SCRATCH = ROOT / "artifacts/gpu-check"
INTERRUPTED = "It was interrupted."
END_SECONDS = 20  # from SIGTERM to SIGKILL
LOG_LINES = 30  # of a failed part, which are kept


@dataclass(frozen=True)
class Part:
    """A benchmark, the packages without which it is skipped, and the seconds that it may take."""

    seconds: int
    module: str
    arguments: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


PARTS = {
    "engine": Part(330, "benchmarks.engine", ("--parts", "greedy", "mixed", "--scratch", "{scratch}")),
    "steps": Part(60, "benchmarks.engine", ("--parts", "steps", "--scratch", "{scratch}")),
    "service": Part(
        90,
        "benchmarks.service",
        ("--parts", "closed", "--scratch", "{scratch}"),
        ("bentoml", "pydantic_settings", "aiohttp"),
    ),
    "finetune": Part(240, "benchmarks.finetune", ("--parts", "variants")),
    "parity": Part(180, "benchmarks.parity", ("--scratch", "{scratch}")),
}


class Stopped(BaseException):
    """The part has to end, which is not a failure of what it measures."""


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="only these")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: tiny sizes, to try it all")
    parser.add_argument("--scratch", type=Path, default=SCRATCH, help="where models, bundles and logs are kept")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.part:
        return run_here(options.part, options.device, options.scratch)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for package in ("torch", "transformers", "onnxruntime"):
        if find_spec(package) is None:
            print(f"{sys.executable} has no {package}: name another interpreter with PYTHON=.", file=sys.stderr)
            return 1
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        print("PyTorch sees no NVIDIA GPU here; --device cpu tries everything at tiny sizes.", file=sys.stderr)
        return 1
    # Results of tiny sizes are not kept.
    results, page = (RESULTS, PAGE) if options.device == "cuda" else (options.scratch, options.scratch / "gpu.md")
    return check(options.parts, options.device, options.scratch, results, page)


def check(parts: list[str], device: str, scratch: Path, results: Path, page: Path) -> int:
    """Runs those of `parts` that have no result in the folder `results`, and writes `page` after each.

    Returns 1 if one failed, 130 if one was interrupted.
    """
    machine = describe(device)
    path = results / f"gpu-{machine['slug']}.json"
    content: dict = {"machine": machine, "parts": {}}
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        # Figures of other software or of another machine cannot be compared with these.
        content = before if before["machine"] == machine else content
    results.mkdir(parents=True, exist_ok=True)
    status = 0
    for part in parts:
        if is_measured(content["parts"].get(part)):
            print(f"{part}: measured before, in {path}", flush=True)
            continue
        print(f"{part}: at most {PARTS[part].seconds} s, log in {scratch / f'{part}.log'}", flush=True)
        row = run(part, device, scratch, PARTS[part].seconds)
        row |= {"command": f"python -m benchmarks.gpu --parts {part} --device {device}", "commit": git_commit()}
        content["parts"][part] = row
        content.get("notes", {}).pop(part, None)  # it was about the previous result
        write_json(path, content)
        write_page(results, page)
        if row.get("failed") == INTERRUPTED:
            print(f"{part}: {INTERRUPTED}", flush=True)
            return 130
        if "failed" in row:
            status = 1
            print(f"{part}: {row['failed']}\n  " + "\n  ".join(row["log"]), flush=True)
        else:
            print(f"{part}: {row.get('skipped', 'done')} ({row['seconds']:.0f} s)", flush=True)
    write_page(results, page)
    print(f"{path}, {page}")
    return status


def is_measured(row: dict | None) -> bool:
    """Whether the part has a complete result."""
    return row is not None and "failed" not in row and "skipped" not in row


def run(part: str, device: str, scratch: Path, limit: float) -> dict:
    """Runs one part in a process: {"seconds", "results"}, and "skipped" or "failed" with a sentence, "failed" with "log".

    A KeyboardInterrupt ends the part, which is then INTERRUPTED and keeps the results so far.
    """
    missing = [package for package in PARTS[part].packages if find_spec(package) is None]
    if missing:
        return {"seconds": 0.0, "skipped": f"{missing[0]} is not installed."}
    scratch.mkdir(parents=True, exist_ok=True)
    output, log = scratch / f"{part}.json", scratch / f"{part}.log"
    output.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.gpu", "--part", part, "--device", device, "--scratch", str(scratch)]
    # PyTorch would use a GPU that is there.
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
    if output.exists():
        row["results"] = json.loads(output.read_text(encoding="utf-8"))
    if failed:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        row |= {"failed": failed, "log": lines[-LOG_LINES:]}
    return row


def _end(process: subprocess.Popen) -> None:
    """Ends the part, which is given time to end what it started, and then the rest of its process group."""
    # Not the group: what ends before the part would look to it like a failure.
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_SECONDS)
    with suppress(ProcessLookupError):  # if nothing of it is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_here(part: str, device: str, scratch: Path) -> int:
    """Runs the part's benchmark in this process; SIGTERM lets it end what it has started."""
    signal.signal(signal.SIGTERM, _stop)
    arguments = [argument.format(scratch=scratch) for argument in PARTS[part].arguments]
    arguments += ["--device", device, "--output", str(scratch / f"{part}.json")]
    arguments += ["--tiny"] if device == "cpu" else []
    try:
        return importlib.import_module(PARTS[part].module).main(arguments)
    except Stopped:
        print("Stopped.", flush=True)
        return 1


def _stop(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough, and must not disturb the ending
    raise Stopped


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
