"""Runs the benchmarks on a GPU in parts with time limits, and writes docs/gpu.md. `make gpu-check PYTHON=python3`

Each part is a process of its own. Its results are written to benchmarks/results/gpu-DEVICE.json as they are measured,
and docs/gpu.md from all such files when it has ended. A part that is done is not measured again, and one that was
stopped goes on where it was; remove the file, or the part from it, to measure it again. All take 11 minutes at most.
"""

import argparse
import importlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from benchmarks.gpu_page import PAGE, write_page
from benchmarks.server import ROOT
from finetune.files import write_json
from finetune.provenance import git_commit, versions

RESULTS = ROOT / "benchmarks/results"
SCRATCH = ROOT / "artifacts/gpu-check"
INTERRUPTED = "It was interrupted."
KEEP_SECONDS = 5  # between two writes of a part's results so far
END_SECONDS = 20  # from SIGTERM to SIGKILL
LOG_LINES = 30  # of a failed part, in its result


@dataclass(frozen=True)
class Part:
    """A benchmark, the packages without which it is skipped, and the seconds that it may take."""

    seconds: int
    module: str
    arguments: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


SHARED = ("--scratch", "{scratch}")
# The most wanted first.
PARTS = {
    "parity": Part(120, "benchmarks.export", ("--model", "base", "--documents", "32")),
    "engine": Part(230, "benchmarks.engine", ("--parts", "greedy", *SHARED)),
    "service": Part(110, "benchmarks.service", ("--parts", "alone", "closed", *SHARED), ("bentoml", "aiohttp")),
    "mixed": Part(60, "benchmarks.engine", ("--parts", "mixed", *SHARED)),
    "finetune": Part(150, "benchmarks.finetune", ("--parts", "variants")),
}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="only these")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: tiny sizes, to try it all")
    parser.add_argument("--scratch", type=Path, default=SCRATCH, help="folder for models, bundles and logs")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.part:
        return run_here(options.part, options.device, options.scratch)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        print("PyTorch sees no NVIDIA GPU here; --device cpu tries everything at tiny sizes.", file=sys.stderr)
        return 1
    # Results of tiny sizes do not go to the repository.
    results, page = (RESULTS, PAGE) if options.device == "cuda" else (options.scratch, options.scratch / "gpu.md")
    return check(options.parts, options.device, options.scratch, results, page)


def check(parts: list[str], device: str, scratch: Path, results: Path, page: Path) -> int:
    """Runs those of `parts` that have no result in the folder `results`, and writes `page` after each.

    Returns 1 if one failed, 130 if one was interrupted.
    """
    machine, status = describe(device), 0
    path = results / f"gpu-{machine['slug']}.json"
    content: dict = {"machine": machine, "parts": {}}
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        # Figures of other software or of another machine cannot be compared with these.
        content = before if before["machine"] == machine else content
    results.mkdir(parents=True, exist_ok=True)
    for part in parts:
        if part in content["parts"] and not {"failed", "skipped"} & content["parts"][part].keys():
            print(f"{part}: measured before, in {path}", flush=True)
            continue
        print(f"{part}: at most {PARTS[part].seconds} s, log in {scratch / f'{part}.log'}", flush=True)
        content.get("notes", {}).pop(part, None)  # it was about the previous result
        before, commit = content["parts"].get(part, {}), git_commit()
        origin = {"command": f"python -m benchmarks.gpu --parts {part} --device {device}", "commit": commit}
        keep = partial(keep_row, path, content, part, origin)
        same_code = str(before.get("commit")).removesuffix("+changes") == str(commit).removesuffix("+changes")
        so_far = before.get("results", {}) if same_code else {}
        row = run(part, device, scratch, PARTS[part].seconds, so_far, keep)
        keep(row)
        write_page(results, page)
        outcome = row.get("failed", row.get("skipped", "done"))
        print("\n  ".join([f"{part}: {outcome} ({row['seconds']:.0f} s)", *row.get("log", [])]), flush=True)
        if outcome == INTERRUPTED:
            return 130
        status = max(status, int("failed" in row))
    write_page(results, page)
    print(f"{path}, {page}")
    return status


def keep_row(path: Path, content: dict, part: str, origin: dict, row: dict) -> None:
    """Writes the results file `path` with `row` as what is known of the part."""
    content["parts"][part] = row | origin
    write_json(path, content)


def describe(device: str) -> dict[str, object]:
    """Name and slug of the GPU (or processor), the number of cores, and versions of the software."""
    import torch

    name, software = f"CPU {platform.machine()}", versions()
    if device == "cuda":
        name = torch.cuda.get_device_name()
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        drivers = subprocess.run(command, capture_output=True, text=True).stdout if shutil.which(command[0]) else ""
        software |= {"cuda": torch.version.cuda, "driver": next(iter(drivers.split()), "unknown")}
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return {"device": name, "slug": slug, "cores": len(os.sched_getaffinity(0)), "software": software}


def run(
    part: str,
    device: str,
    scratch: Path,
    limit: float,
    before: dict | None = None,
    keep: Callable[[dict], None] = lambda row: None,
) -> dict:
    """Runs one part in a process; its seconds and results, and a sentence if it was skipped or failed (with its log).

    The part goes on from the results `before`; `keep` gets those so far every few seconds, as if it was INTERRUPTED
    then. A KeyboardInterrupt ends the part, which is then INTERRUPTED and keeps the results so far.
    """
    missing = [package for package in PARTS[part].packages if find_spec(package) is None]
    if missing:
        return {"seconds": 0.0, "skipped": f"{missing[0]} is not installed."}
    scratch.mkdir(parents=True, exist_ok=True)
    output, log = scratch / f"{part}.json", scratch / f"{part}.log"
    write_json(output, before or {})
    command = [sys.executable, "-m", "benchmarks.gpu", "--part", part, "--device", device, "--scratch", str(scratch)]
    began = time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file, start_new_session=True)

    def row_so_far() -> dict:
        row: dict = {"seconds": round(time.monotonic() - began, 1)}
        results = json.loads(output.read_text(encoding="utf-8"))
        return row | {"results": results} if results else row

    try:
        while process.poll() is None and (seconds := began + limit - time.monotonic()) > 0:
            with suppress(subprocess.TimeoutExpired):
                process.wait(min(seconds, KEEP_SECONDS))
            keep(row_so_far() | {"failed": INTERRUPTED})
    except KeyboardInterrupt:
        failed = INTERRUPTED
    else:
        failed = f"It was stopped after {limit:.0f} s." if process.poll() is None else ""
    if process.poll() is None:
        _end(process)
    elif process.returncode:
        failed = f"It ended with status {process.returncode}."
    row = row_so_far()
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
    """Runs the part's benchmark in this process; on SIGTERM it ends what it has started."""
    signal.signal(signal.SIGTERM, _exit)
    arguments = [argument.format(scratch=scratch) for argument in PARTS[part].arguments]
    arguments += ["--device", device, "--output", str(scratch / f"{part}.json")]
    arguments += ["--tiny"] if device == "cpu" else []
    return importlib.import_module(PARTS[part].module).main(arguments)


def _exit(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough, and must not disturb the ending
    raise SystemExit("Stopped.")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
