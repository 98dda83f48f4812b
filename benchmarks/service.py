"""The service over HTTP: closed-loop clients, open-loop arrivals up to ten times what it can do, and its peers.

python -m benchmarks.service [--quick] [--parts PART ...] [--scratch FOLDER]

t5-small's shape with random weights in 8 bits, texts of 50 to 450 tokens, 48 new tokens, greedy. Peers: the engine
alone (no HTTP), and the usual BentoML way, adaptive batching over ORTModelForSeq2SeqLM (benchmarks/plain_bento.py). The
clients have the machine's last core and all servers the others, so that what clients take is nobody's loss.
`startup` has the seconds from process start to the first answer and to the page, and resident memory, with all cores.

All take turns in two rounds, of which each load's better run counts: a machine that is slower for a minute would be
blamed on whoever was measured then. The whole run takes about fifteen minutes on two cores. What is measured goes to
benchmarks/results/service.json as it comes, so that a run can be taken in parts (with --scratch, which keeps the
models) on one machine. The last line is JSON.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Coroutine
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.engine import processor
from benchmarks.loads import Body, closed, open_loop, texts
from benchmarks.servers import ROOT, Server, plain, precis
from finetune.files import write_json

RESULT = Path(__file__).parent / "results/service.json"
NEW = 48
CLIENTS = (1, 8, 32, 128)
OVERLOADS = (0.5, 1, 2, 10)  # arrivals in parts of the engine's own throughput
PARTS = ["alone", "startup", "closed", "open", "plain"]
ROUNDS = 2
CORES = sorted(os.sched_getaffinity(0))
SERVING = CORES[:-1] or CORES
console = Console()


def engine_alone(bundle: Path, threads: int, seconds: float) -> float:
    """Summaries a second with 64 callers in this process."""
    from precis import Engine, GenerationParams

    engine = Engine.load(bundle, threads=threads, max_waiting_tokens=1 << 30)
    generation = GenerationParams(max_new_tokens=NEW, min_new_tokens=NEW, num_beams=1)
    pool = texts(512, 1)

    async def run(length: float) -> float:
        began, done = time.perf_counter(), 0

        async def caller(first: int) -> None:
            nonlocal done
            index = first
            while time.perf_counter() < began + length:
                await engine.summarize(pool[index % len(pool)], generation)
                done += 1
                index += 64

        await asyncio.gather(*(caller(first) for first in range(64)))
        return done / (time.perf_counter() - began)

    asyncio.run(run(1.0))
    rate = asyncio.run(run(seconds))
    engine.close()
    return rate


def loads(title: str, runs: dict[str, Coroutine]) -> dict[str, dict]:
    """Each load after the other, and a table of all."""
    rows = {}
    for name, run in runs.items():
        console.print(f"{title}: {name}", style="dim")
        rows[name] = asyncio.run(run)
    table = Table("load", "summaries/s", "p50 s", "p99 s", "answers", "refused p99 ms", "clients' cores", title=title)
    for name, row in rows.items():
        answers = ", ".join(f"{count} x {status}" for status, count in row["statuses"].items())
        table.add_row(
            name, str(row["summaries_per_second"]), str(row["p50_s"]), str(row["p99_s"]), answers,
            str(row.get("refused_p99_ms", "")), str(row["clients_processors"]),
        )  # fmt: skip
    console.print(table)
    return rows


def body(text: str) -> dict:
    return {"text": text, "max_new_tokens": NEW, "min_new_tokens": NEW, "num_beams": 1}


def plain_body(text: str) -> dict:
    return {"texts": [text]}


def waiting(server: Server, body: Body, length: float) -> dict[str, Coroutine]:
    """The closed loops."""
    return {f"{clients} clients": closed(server.url, body, clients, length) for clients in CLIENTS}


def alone(folder: Path, threads: int, length: float) -> float:
    """The engine's own throughput, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.service", "--alone", str(folder / "int8"), str(threads), str(length)]
    pinned = partial(os.sched_setaffinity, 0, SERVING)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, preexec_fn=pinned)
    rate = round(float(done.stdout.split()[-1]), 2)
    console.print(f"the engine alone: {rate} summaries a second")
    return rate


def startup(server: Server, bundle: Path) -> dict[str, float]:
    """Seconds to the first answer and to the page; memory, and what the engine says its caches may come to."""
    with urllib.request.urlopen(f"{server.url}/metrics") as answer:
        caches = float(re.search(rb"^precis_cache_bytes (\S+)", answer.read(), re.M)[1])
    found = {
        "first_answer_s": round(server.answered, 2),
        "page_s": round(server.page, 2),
        "resident_mib": round(server.memory() / 2**20),
        "bundle_mib": round(sum(path.stat().st_size for path in bundle.iterdir()) / 2**20),
        "stated_caches_mib": round(caches / 2**20),
    }
    console.print(found)
    return found


def better(rows: dict[str, dict], others: dict[str, dict]) -> dict[str, dict]:
    """Of each load's two runs the one with the higher rate; other work on the machine only ever takes."""
    return {
        name: max(row, others.get(name, row), key=lambda run: run["summaries_per_second"]) for name, row in rows.items()
    }


def ratios(result: dict) -> dict:
    """What the parts that were measured say of each other; None where one of the two has no figure."""
    found: dict = {}
    if "closed" not in result:
        return found
    loaded = {**result["closed"], **result.get("open", {})}
    peak = max(row["summaries_per_second"] for row in loaded.values())
    if "engine_alone" in result:
        found["saturation_to_engine_alone"] = _ratio(peak, result["engine_alone"])
    if "open" in result:
        overloaded = result["open"]["10 x capacity"]
        found["overload_goodput_to_peak"] = _ratio(overloaded["summaries_per_second"], peak)
        found["overload_p99_to_saturation"] = _ratio(overloaded["p99_s"], result["closed"]["128 clients"]["p99_s"])
        found["overload_refused_p99_ms"] = overloaded.get("refused_p99_ms")
    if "plain" in result:
        best = max(row["summaries_per_second"] for row in result["plain"].values())
        found["throughput_to_plain"] = _ratio(peak, best)
        found["p99_of_plain"] = {
            name: _ratio(row["p99_s"], result["plain"][name]["p99_s"]) for name, row in result["closed"].items()
        }
    return found


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return round(ours / theirs, 3) if ours and theirs else None


def write_models(folder: Path, plain: bool) -> None:
    """The random model, its 8-bit bundle and, if `plain`, what the peer reads, unless they are there."""
    from benchmarks import shapes

    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "int8/manifest.json").exists():
        console.print("a random model of t5-small's shape, and its bundle")
        shutil.rmtree(folder / "int8", ignore_errors=True)
        shapes.write_model(folder / "model")
        shapes.write_bundle(folder / "model", folder / "int8", [[3, *range(10, 408), 1] for _ in range(4)])
    if plain and not (folder / "plain/tokenizer.json").exists():
        from benchmarks import plain_bento

        console.print("the same model for ORTModelForSeq2SeqLM")
        shutil.rmtree(folder / "plain", ignore_errors=True)
        plain_bento.export(folder / "model", folder / "plain")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="three seconds a load, without the plain peer; nothing is written"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="only these; others stay as they were")
    parser.add_argument("--scratch", type=Path, help="keeps the models here, so that several calls can share them")
    parser.add_argument("--alone", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.alone:
        bundle, threads, seconds = options.alone
        print(engine_alone(Path(bundle), int(threads), float(seconds)))
        return 0
    threads, length = len(SERVING), 3.0 if options.quick else 15.0
    parts = [part for part in options.parts if not (options.quick and part == "plain")]
    result = {"machine": processor(), "threads": threads}
    if not options.quick and RESULT.exists():
        before = json.loads(RESULT.read_text())
        # Parts of two machines would say nothing of each other.
        result = before if before.get("machine") == result["machine"] and before["threads"] == threads else result

    def keep(**found) -> None:
        result.update(found)
        result["ratios"] = ratios(result)
        if not options.quick:
            RESULT.parent.mkdir(exist_ok=True)
            write_json(RESULT, result)

    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        folder = options.scratch or scratch
        write_models(folder, "plain" in parts)
        if "startup" in parts:
            with precis(folder, scratch, CORES) as ours:
                keep(startup=startup(ours, folder / "int8"))
        os.sched_setaffinity(0, CORES[-1:])
        found: dict = {}
        with ExitStack() as running:
            if {"closed", "open"} & {*parts}:
                ours = running.enter_context(precis(folder, scratch, SERVING))
            if "plain" in parts:
                peer = running.enter_context(plain(folder, scratch, SERVING, NEW))
            for _ in range(1 if options.quick else ROUNDS):
                if "alone" in parts or ("open" in parts and "engine_alone" not in result):
                    found["engine_alone"] = max(alone(folder, threads, length), found.get("engine_alone", 0.0))
                    keep(**found)
                if "closed" in parts:
                    rows = loads("Precis, closed loop", waiting(ours, body, length))
                    found["closed"] = better(rows, found.get("closed", {}))
                    keep(**found, loaded_mib=round(ours.memory() / 2**20))
                if "open" in parts:
                    rate = result["engine_alone"]
                    runs = {
                        f"{part:g} x capacity": open_loop(ours.url, body, part * rate, length) for part in OVERLOADS
                    }
                    found["open"] = better(loads("Precis, open loop", runs), found.get("open", {}))
                    keep(**found)
                if "plain" in parts:
                    rows = loads("plain BentoML, closed loop", waiting(peer, plain_body, length))
                    found["plain"] = better(rows, found.get("plain", {}))
                    keep(**found)
    console.print(result["ratios"])
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
