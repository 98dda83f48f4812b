"""Many documents: `precis bulk` compared with the bare engine, and its memory.

    python -m benchmarks.bulk [--parts throughput memory]

`throughput`: t5-small's shape with random weights in int8, texts of 50 to 500 tokens, 64 new ones each, without the
time to load. `memory`: the peak with 1,000, 10,000 and 100,000 rows and a tiny model. About one and two minutes on
two cores. Writes benchmarks/results/bulk.json; the last line is JSON.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.models import ensure_bundle
from benchmarks.peers import Setup
from finetune.files import write_json
from precis import Engine
from precis.bundle.manifest import sha256
from precis.bundle.names import MANIFEST
from precis.cli import main as precis
from precis.runtime.threads import default_threads

RESULTS = Path(__file__).parent / "results/bulk.json"
PARTS = ("throughput", "memory")
PEAK_MEMORY = (
    "from precis.cli import main; assert main() == 0;"
    "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
)


def write_rows(path: Path, count: int, shortest: int, longest: int) -> list[str]:
    """Writes a JSONL file of texts with uniformly drawn lengths, in tokens; returns the texts."""
    draw = random.Random(5)

    def word(number: int) -> str:  # a text of one short sentence would be its own summary
        return f"w{draw.randrange(10, 32000)}{'' if number % 8 else '.'}"

    texts = [" ".join(map(word, range(1, draw.randint(shortest, longest) + 1))) for _ in range(count)]
    path.write_text("".join(json.dumps({"id": i, "document": text}) + "\n" for i, text in enumerate(texts)))
    return texts


def fix_summary_length(bundle: Path, new: int) -> None:
    """Changes the bundle so that every summary has `new` tokens."""
    path = bundle / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"min_new_tokens": new, "max_new_tokens": new}))
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["files"][path.name] = sha256(path)
    (bundle / MANIFEST).write_text(json.dumps(manifest))


def command_seconds(source: Path, bundle: Path, rows: int, threads: int) -> float:
    """Seconds of the command, with loading its engine."""
    out = source.with_name("out.jsonl")
    began = time.perf_counter()
    assert precis(["bulk", str(source), str(out), "--bundle", str(bundle), "--threads", str(threads)]) == 0
    assert len(out.read_text().splitlines()) == rows
    return time.perf_counter() - began


def throughput(folder: Path) -> dict[str, float]:
    """Rows a second of the engine and the command, and their ratio."""
    threads, rows, new = default_threads(), 512, 64
    setup = Setup(folder, "cpu", threads)
    bundle, source = ensure_bundle(setup, "int8"), folder / "in.jsonl"
    fix_summary_length(bundle, new)
    texts = write_rows(source, rows, 50, 500)
    began = time.perf_counter()
    engine = Engine.load(bundle, threads=threads)
    loading = time.perf_counter() - began
    engine.generate(texts[:32])
    began = time.perf_counter()
    engine.generate(texts)
    rates = {"engine": rows / (time.perf_counter() - began)}
    engine.close()
    rates["bulk"] = rows / (command_seconds(source, bundle, rows, threads) - loading)
    return rates | {"bulk_to_engine": rates["bulk"] / rates["engine"]}


def memory(folder: Path) -> dict[str, int]:
    """MiB at the peak of a process of its own, by rows."""
    bundle = ensure_bundle(Setup(folder, "cpu", default_threads(), "tiny"), "fp32")
    fix_summary_length(bundle, 2)
    peaks = {}
    for count in (1_000, 10_000, 100_000):
        source, out = folder / f"{count}.jsonl", folder / f"{count}.out.jsonl"
        write_rows(source, count, 10, 60)
        command = [sys.executable, "-c", PEAK_MEMORY, "bulk", str(source), str(out), "--bundle", str(bundle)]
        stdout = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        peaks[str(count)] = int(stdout.split()[-1]) // 1024
        assert sum(1 for _ in out.open()) == count
    return peaks


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bulk", description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    options = parser.parse_args(argv)
    result = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory() as scratch:
        for part in options.parts:
            figures = {"throughput": throughput, "memory": memory}[part](Path(scratch))
            result[part] = {name: round(value, 3) for name, value in figures.items()}
    write_json(RESULTS, result)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
