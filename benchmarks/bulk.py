"""Many documents: precis bulk beside the bare engine, transformers' pipeline and two workers on Ray.

python -m benchmarks.bulk [throughput] [ray] [memory]

t5-small's shape with random weights in 8 bits. `throughput`: texts of 50 to 500 tokens, 64 new ones each; loading is
left out of the rates. `ray`: more and shorter ones, two workers with a thread each beside one engine with two; engines
are loaded in the time, the start of the cluster is told apart. `memory`: the peak of 1,000, 10,000 and 100,000 rows,
with a tiny model. About three, three and two minutes on two cores. Writes benchmarks/results/bulk.json; the last line
is JSON.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import shapes
from benchmarks.engine import texts as token_ids
from finetune.files import write_json
from precis import Engine, GenerationParams
from precis.bulk import ray_cluster, run
from precis.bulk.cli import main as bulk
from precis.bulk.files import find
from precis.bulk.rows import Columns, format_of
from precis.bulk.run import BulkJob
from precis.bundle.manifest import sha256
from precis.bundle.names import MANIFEST
from precis.runtime.threads import default_threads

RESULTS = Path(__file__).parent / "results/bulk.json"
PARTS = ("throughput", "ray", "memory")
PIPELINE_BATCH = 32
console = Console()


def write_rows(path: Path, count: int, shortest: int, longest: int) -> list[str]:
    """A JSONL file of texts with lengths drawn evenly, in tokens."""
    draw = random.Random(5)
    texts = [
        " ".join(f"w{draw.randrange(10, 32000)}" for _ in range(draw.randint(shortest, longest))) for _ in range(count)
    ]
    path.write_text("".join(json.dumps({"id": i, "document": text}) + "\n" for i, text in enumerate(texts)))
    return texts


def fix_length(bundle: Path, new: int) -> None:
    """Every summary of the bundle has `new` tokens from now on."""
    path = bundle / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"min_new_tokens": new, "max_new_tokens": new}))
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["files"][path.name] = sha256(path)
    (bundle / MANIFEST).write_text(json.dumps(manifest))


def command_rate(source: Path, bundle: Path, rows: int, threads: int) -> float:
    """Rows a second of the whole command, less the loading of its engine."""
    loading = 0.0
    load = Engine.load

    def timed(*given, **named):
        nonlocal loading
        began = time.perf_counter()
        engine = load(*given, **named)
        loading += time.perf_counter() - began
        return engine

    Engine.load = timed
    out = source.with_name("out.jsonl")
    began = time.perf_counter()
    assert bulk([str(source), str(out), "--bundle", str(bundle), "--threads", str(threads)]) == 0
    seconds = time.perf_counter() - began - loading
    Engine.load = load
    assert len(out.read_text().splitlines()) == rows
    out.unlink()
    return rows / seconds


def pipeline_rate(model: Path, texts: list[str], new: int) -> float:
    """transformers' summarization pipeline in batches, texts sorted by length, which is its best case."""
    import torch
    from transformers import AutoModelForSeq2SeqLM, PreTrainedTokenizerFast, pipeline

    torch.set_num_threads(default_threads())
    tokenizer = PreTrainedTokenizerFast.from_pretrained(model, model_max_length=512)
    made = pipeline("summarization", model=AutoModelForSeq2SeqLM.from_pretrained(model), tokenizer=tokenizer)
    settings = {"min_new_tokens": new, "max_new_tokens": new, "truncation": True, "batch_size": PIPELINE_BATCH}
    made(texts[:2], **settings)
    began = time.perf_counter()
    made(sorted(texts, key=len), **settings)
    return len(texts) / (time.perf_counter() - began)


def throughput(folder: Path, rows: int) -> dict[str, float]:
    bundle, source, threads = folder / "bundle", folder / "in.jsonl", default_threads()
    fix_length(bundle, 64)
    texts = write_rows(source, rows, 50, 500)
    engine = Engine.load(bundle, threads=threads)
    engine.generate(texts[:32])
    began = time.perf_counter()
    engine.generate(texts)
    found = {"engine": rows / (time.perf_counter() - began)}
    engine.close()
    found["bulk"] = command_rate(source, bundle, rows, threads)
    # The peer is slow, and its rate settles soon: every fourth text.
    found["pipeline"] = pipeline_rate(folder / "model", texts[::4], 64)
    found["bulk_to_engine"] = found["bulk"] / found["engine"]
    found["bulk_to_pipeline"] = found["bulk"] / found["pipeline"]
    return found


def ray_overhead(folder: Path, rows: int) -> dict[str, float]:
    bundle, source = folder / "bundle", folder / "in.jsonl"
    fix_length(bundle, 16)
    write_rows(source, rows, 40, 160)
    columns = Columns("document", "summary")
    started = 0.0
    connect = ray_cluster._connected

    def timed(address: str):
        nonlocal started
        began = time.perf_counter()
        ray = connect(address)
        started = time.perf_counter() - began
        return ray

    def seconds(parts, threads: int, *more: str) -> float:
        job = BulkJob(
            find([str(source)]), format_of("jsonl", columns), "", str(bundle), "cpu", threads, GenerationParams()
        )
        began = time.perf_counter()
        assert sum(part.written for part in parts(job, run.Mark(), lambda *_: None, *more)) == rows
        return time.perf_counter() - began

    ray_cluster._connected = timed
    found = {"bulk_two_threads": rows / seconds(run.parts, 2)}
    took = seconds(ray_cluster.parts, 1, "local")
    ray_cluster._connected = connect
    found |= {"ray_two_workers": rows / (took - started), "ray_start_seconds": started}
    found["ray_to_bulk"] = found["ray_two_workers"] / found["bulk_two_threads"]
    return found


def memory(folder: Path, counts: tuple[int, ...]) -> dict[str, int]:
    """MiB at the peak of a process of its own, by rows."""
    shapes.write_model(folder / "tiny", d_model=32, d_ff=64, num_layers=1, num_heads=2, d_kv=16)
    shapes.write_bundle(folder / "tiny", folder / "tiny-bundle")
    fix_length(folder / "tiny-bundle", 2)
    program = (
        "from precis.bulk.cli import main; assert main() == 0;"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    found = {}
    for count in counts:
        source, out = folder / f"{count}.jsonl", folder / f"{count}.out.jsonl"
        write_rows(source, count, 10, 60)
        command = [sys.executable, "-c", program, str(source), str(out), "--bundle", str(folder / "tiny-bundle")]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found[str(count)] = int(told.split()[-1]) // 1024
        assert sum(1 for _ in out.open()) == count
    return found


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bulk", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all if none is named")
    parser.add_argument("--rows", type=float, default=1.0, help="share of the rows, for a quick try")
    options = parser.parse_args(argv)
    if wrong := set(options.parts) - set(PARTS):
        parser.error(f"there is no part {wrong.pop()}")
    result = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        chosen = options.parts or PARTS
        if set(chosen) & {"throughput", "ray"}:
            console.print("a random model of t5-small's shape, and its bundle in 8 bits")
            shapes.write_model(folder / "model")
            shapes.write_bundle(folder / "model", folder / "bundle", token_ids(16))
        for part in chosen:
            if part == "memory":
                found = memory(folder, tuple(round(count * options.rows) for count in (1_000, 10_000, 100_000)))
            else:
                measure, rows = {"throughput": (throughput, 512), "ray": (ray_overhead, 2560)}[part]
                found = measure(folder, round(rows * options.rows))
            result[part] = {name: round(value, 3) for name, value in found.items()}
            table = Table(part, "MiB" if part == "memory" else "rows a second, or ratio")
            for name, value in result[part].items():
                table.add_row(name, f"{value:,}")
            console.print(table)
    if options.rows == 1:
        write_json(RESULTS, result)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
