"""The service over HTTP: closed-loop clients, open-loop arrivals up to ten times its capacity, and its peers.

    python -m benchmarks.service [--device cuda] [--parts PART ...] [--scratch FOLDER]

t5-small's shape with random weights in int8, texts of 50 to 450 tokens, 48 new tokens, greedy. Parts: `alone` (the
engine without HTTP), `startup` (seconds from process start to the first answer and to the page, and resident memory,
with all cores), `closed`, `open`, and `plain` (the usual BentoML way, adaptive batching over ORTModelForSeq2SeqLM,
benchmarks/plain_bento.py). The clients have the machine's last core and all servers the others.

All take turns in two rounds, and of each load the better run counts, so that a machine that is slower for a minute
disturbs none of them alone. A full run takes about fifteen minutes on two cores. Results go to
benchmarks/results/service.json as they are measured, so that a run can be split into parts (--scratch keeps the models)
on one machine. On a GPU only `closed` is measured by default, with nine new tokens. The last line is JSON.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.loads import Body, closed, open_loop, texts
from benchmarks.peers import PRECISIONS, Setup
from benchmarks.server import BENTOML, ROOT, START, Server
from benchmarks.turns import processor
from finetune.files import write_json
from precis import Engine, GenerationParams

RESULT = Path(__file__).parent / "results/service.json"
OVERLOADS = (0.5, 1, 2, 10)  # arrivals, as multiples of the engine's own throughput
PARTS = ("alone", "startup", "closed", "open", "plain")
START_SECONDS = 180.0
CALLERS = 64  # of the engine alone
CORES = sorted(os.sched_getaffinity(0))
SERVING = CORES[:-1] or CORES
console = Console()


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    new: int  # tokens
    clients: tuple[int, ...]
    seconds: float  # of each load
    rounds: int = 1
    warm_up: float = 0.0  # seconds before each closed loop
    shape: str = "small"
    rows: int | None = None  # sequences that the engine decodes at once


SIZES = {
    "cpu": Sizes(new=48, clients=(1, 8, 32, 128), seconds=15.0, rounds=2),
    "cuda": Sizes(new=9, clients=(8, 32, 64, 128), seconds=8.0, warm_up=2.0, rows=128),
    "tiny": Sizes(new=4, clients=(2,), seconds=1.0, warm_up=0.5, shape="tiny", rows=8),
}


def measure_engine(bundle: Path, device: str, new: int, seconds: float) -> float:
    """Summaries a second without HTTP, on the servers' cores; CALLERS ask again as soon as they are answered."""
    os.sched_setaffinity(0, SERVING)
    engine = Engine.load(bundle, device=device, threads=len(SERVING), max_waiting_tokens=1 << 30)
    params = GenerationParams(max_new_tokens=new, min_new_tokens=new, num_beams=1, passthrough=False)
    pool = texts(512, 1)

    async def run(length: float) -> float:
        began, done = time.perf_counter(), 0

        async def call(index: int) -> None:
            nonlocal done
            while time.perf_counter() < began + length:
                await engine.summarize(pool[index % len(pool)], params)
                done += 1
                index += CALLERS

        await asyncio.gather(*map(call, range(CALLERS)))
        return done / (time.perf_counter() - began)

    asyncio.run(run(1.0))
    rate = round(asyncio.run(run(seconds)), 2)
    engine.close()
    os.sched_setaffinity(0, CORES[-1:])
    console.print(f"the engine alone: {rate} summaries a second")
    return rate


def start_precis(setup: Setup, bundle: Path, scratch: Path, cores: list[int], page: bool = True) -> Server:
    """Our service on the bundle."""
    environment = {"PRECIS_THREADS": str(len(cores)), "PRECIS_DEVICE": setup.device, "PRECIS_PAGE": str(page).lower()}
    if setup.rows:
        environment["PRECIS_ROWS"] = str(setup.rows)
    return Server(START, ROOT, bundle, scratch / "precis", environment, cores=cores)


def start_plain(setup: Setup, scratch: Path, cores: list[int], new: int) -> Server:
    """The peer's service, once it has answered."""
    environment = {"PLAIN_MODEL": str(setup.folder / f"plain-{setup.shape}")}
    environment |= {"PLAIN_THREADS": str(len(cores)), "PLAIN_NEW_TOKENS": str(new)}
    command = [BENTOML, "serve", "benchmarks.plain_bento:Plain"]
    server = Server(command, ROOT, None, scratch / "plain", environment, cores=cores)
    server.wait_until_ready(START_SECONDS, "/summarize", {"texts": ["w10 w11"]})
    return server


def body(text: str, new: int) -> dict:
    """A request to our service."""
    return {"text": text, "max_new_tokens": new, "min_new_tokens": new, "num_beams": 1, "passthrough": False}


def measure_startup(server: Server) -> dict[str, float]:
    """Seconds to the first answer and to the page, and resident memory."""
    first_answer = server.wait_until_ready(START_SECONDS, "/summarize", body("w10 w11", 4))
    page = server.wait_until_ready(START_SECONDS, "/ui/")
    resident = round(server.memory() / 2**20)
    result = {"first_answer_s": round(first_answer, 2), "page_s": round(page, 2), "resident_mib": resident}
    console.print(result)
    return result


def run_loads(
    title: str, loads: dict[str, Coroutine], keep: Callable[[dict], None] = lambda rows: None
) -> dict[str, dict]:
    """Runs each load after the other, prints its figures, and gives `keep` the rows so far."""
    rows = {}
    for name, load in loads.items():
        rows[name] = asyncio.run(load)
        keep(rows)
        console.print(f"{title}, {name}: {rows[name]}")
    return rows


def closed_loops(
    title: str, server: Server, make_body: Body, sizes: Sizes, keep: Callable[[dict], None] = lambda rows: None
) -> dict[str, dict]:
    """The closed loop with each number of clients."""
    rows = {}
    for clients in sizes.clients:
        if sizes.warm_up:
            asyncio.run(closed(server.url, make_body, clients, sizes.warm_up))
        rows[f"{clients} clients"] = closed(server.url, make_body, clients, sizes.seconds)
    return run_loads(title, rows, keep)


def better(rows: dict[str, dict], others: dict[str, dict]) -> dict[str, dict]:
    """Of each load's two runs the one with the higher rate; other work on the machine only ever takes."""
    return others | {
        name: max(row, others.get(name, row), key=lambda run: run["summaries_per_second"]) for name, row in rows.items()
    }


def write_models(setup: Setup, precision: str, plain: bool) -> Path:
    """Writes what is missing of the random model, its bundle and, if `plain`, the peer's; returns the bundle."""
    from benchmarks import models

    console.print(f"a random model of the shape {setup.shape}, and its bundle")
    bundle, exported = models.ensure_bundle(setup, precision), setup.folder / f"plain-{setup.shape}"
    if plain and not (exported / "tokenizer.json").exists():
        from benchmarks import plain_bento

        shutil.rmtree(exported, ignore_errors=True)
        plain_bento.export(setup.model, exported)
    return bundle


def measure(
    parts: list[str], setup: Setup, bundle: Path, scratch: Path, sizes: Sizes, result: dict, keep: Callable[..., None],
    best: dict,
) -> None:  # fmt: skip
    """Measures the parts; `keep` adds results to `result`. `best` holds those to which another round is compared."""
    if "startup" in parts:
        with start_precis(setup, bundle, scratch, CORES) as ours:
            keep(startup=measure_startup(ours))
    os.sched_setaffinity(0, CORES[-1:])
    with ExitStack() as running:
        if {"closed", "open"} & {*parts}:
            page = setup.device == "cpu" and setup.shape == "small"
            ours = running.enter_context(start_precis(setup, bundle, scratch, SERVING, page))
            first_answer = ours.wait_until_ready(START_SECONDS, "/summarize", body("w10 w11", sizes.new))
            if page:
                ours.wait_until_ready(START_SECONDS, "/ui/")
            keep(first_answer_s=round(first_answer, 1))
        if "plain" in parts:
            peer = running.enter_context(start_plain(setup, scratch, SERVING, sizes.new))
        for _ in range(sizes.rounds):
            if "alone" in parts or ("open" in parts and "engine_alone" not in result):
                rate = measure_engine(bundle, setup.device, sizes.new, sizes.seconds)
                best["engine_alone"] = max(rate, best.get("engine_alone", 0.0))
                keep(**best)
            if "closed" in parts:
                before = best.get("closed", {})
                best["closed"] = better(
                    closed_loops(
                        "Precis, closed loop", ours, partial(body, new=sizes.new), sizes,
                        lambda rows, before=before: keep(closed=better(rows, before)),
                    ),
                    before,
                )  # fmt: skip
                keep(**best, loaded_mib=round(ours.memory() / 2**20))
            if "open" in parts:
                loads = {
                    f"{overload:g} x capacity": open_loop(
                        ours.url, partial(body, new=sizes.new), overload * result["engine_alone"], sizes.seconds
                    )
                    for overload in OVERLOADS
                }
                best["open"] = better(run_loads("Precis, open loop", loads), best.get("open", {}))
                keep(**best)
            if "plain" in parts:
                rows = closed_loops("plain BentoML, closed loop", peer, lambda text: {"texts": [text]}, sizes)
                best["plain"] = better(rows, best.get("plain", {}))
                keep(**best)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="only these; others keep their results")
    parser.add_argument("--scratch", type=Path, help="keeps the models here, so that several calls can share them")
    parser.add_argument("--output", type=Path, help="file for the results, which are added as they are measured")
    parser.add_argument("--tiny", action="store_true", help="a tiny model and few clients, to try that everything runs")
    options = parser.parse_args(argv)
    sizes = SIZES["tiny" if options.tiny else options.device]
    parts = list(options.parts or (PARTS if options.device == "cpu" else ["closed"]))
    output = options.output or (None if options.tiny or options.device == "cuda" else RESULT)
    precision = PRECISIONS["cuda"][0] if options.device == "cuda" else "int8"
    result = {"machine": processor(), "threads": len(SERVING)}
    if output and output.exists():
        before = json.loads(output.read_text())
        # Parts measured on two machines cannot be compared.
        result = before if all(before.get(key) == value for key, value in result.items()) else result
    result |= {"new_tokens": sizes.new, "precision": precision}
    best = {}
    if options.output and "closed" in result:  # by a run that was stopped
        best = {"closed": result["closed"]}
        sizes = replace(sizes, clients=tuple(n for n in sizes.clients if f"{n} clients" not in result["closed"]))

    def keep(**figures: object) -> None:
        result.update(figures)
        if output:
            write_json(output, result)

    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        setup = Setup(options.scratch or scratch, options.device, len(SERVING), sizes.shape, sizes.rows)
        bundle = write_models(setup, precision, "plain" in parts)
        measure(parts, setup, bundle, scratch, sizes, result, keep, best)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
