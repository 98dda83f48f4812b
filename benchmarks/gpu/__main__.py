"""Measures a card: the engine and its peers, the service, fine-tuning, parity. `make gpu-check PYTHON=python3`

Every part is written to benchmarks/results/gpu-CARD.json when it has ended, well or not, and docs/gpu.md anew from all
such files. A part that has its result is not measured again; remove the file, or the part from it, to have it measured
anew. All parts together take a quarter of an hour at most.
"""

import argparse
import json
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

from benchmarks.gpu.card import git_commit, machine
from benchmarks.gpu.parts import INTERRUPTED, LIMITS, ROOT, measure, run
from benchmarks.gpu.report import PAGE, write_page
from finetune.files import write_json

RESULTS = ROOT / "benchmarks/results"
SCRATCH = ROOT / "artifacts/gpu-check"


def measured(row: dict | None) -> bool:
    return row is not None and "failed" not in row and "skipped" not in row


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=LIMITS, default=list(LIMITS), help="only these")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a small likeness of it all")
    parser.add_argument("--scratch", type=Path, default=SCRATCH, help="where models, bundles and logs are kept")
    parser.add_argument("--part", choices=LIMITS, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.part:
        return measure(options.part, options.device, options.scratch)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for package in ("torch", "transformers", "onnxruntime"):
        if find_spec(package) is None:
            print(f"{sys.executable} has no {package}: name another interpreter by PYTHON=.", file=sys.stderr)
            return 1
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        print("PyTorch sees no NVIDIA GPU here; --device cpu runs a small likeness.", file=sys.stderr)
        return 1
    # A CPU's are no figures to keep.
    results, page = (RESULTS, PAGE) if options.device == "cuda" else (options.scratch, options.scratch / "gpu.md")
    return check(options.parts, options.device, options.scratch, results, page)


def check(parts: list[str], device: str, scratch: Path, results: Path, page: Path) -> int:
    """Measures those of `parts` that have no result in the folder `results`, and writes `page` after each.

    1 where one failed, 130 where one was interrupted.
    """
    here = machine(device)
    path = results / f"gpu-{here['slug']}.json"
    told: dict = {"machine": here, "parts": {}}
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        # Figures of other software, or another machine, would say nothing beside these.
        told = before if before["machine"] == here else told
    results.mkdir(parents=True, exist_ok=True)
    status = 0
    for part in parts:
        if measured(told["parts"].get(part)):
            print(f"{part}: measured before, in {path}", flush=True)
            continue
        print(f"{part}: at most {LIMITS[part]} s, log in {scratch / f'{part}.log'}", flush=True)
        row = run(part, device, scratch, LIMITS[part])
        row |= {"command": f"python -m benchmarks.gpu --parts {part} --device {device}", "commit": git_commit()}
        told["parts"][part] = row
        told.get("notes", {}).pop(part, None)  # of what was measured before
        write_json(path, told)
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


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
