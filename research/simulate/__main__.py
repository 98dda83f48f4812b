"""Checks the queueing simulation against the real service, and asks it about more than one machine.

python -m research.simulate [--seconds 40]

t5-small's shape in 8 bits; texts of 50 to 450 tokens, 8 to 64 new ones, Poisson arrivals. Costs are measured in the
engine, then the service of this machine gets three loads over HTTP, and the simulation the same arrivals. Draws
docs/scale.png and writes research/simulate/results.json; the last line is JSON.
"""

import argparse
import asyncio
import json
import logging
import math
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, replace
from pathlib import Path

import httpx
import matplotlib
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import shapes
from benchmarks.engine import texts as token_ids
from finetune.files import write_json
from precis import Engine, GenerationParams
from precis.runtime.kv_cache import MAX_PREFILL_TOKENS
from precis.runtime.threads import default_threads
from research.simulate.queueing import FEWEST, MOST, Costs, Replica, Text, autoscaled, poisson, route

matplotlib.use("Agg")
from matplotlib import pyplot as plt

logging.getLogger("httpx").setLevel(logging.WARNING)  # a line a request

RESULTS = Path(__file__).with_name("results.json")
PICTURE = Path("docs/scale.png")
LENGTHS, NEWS = (50, 450), (8, 64)
LOADS = (0.3, 0.6, 0.85)  # of what one replica can do
SERVED = 32_768  # tokens; PRECIS_MAX_WAITING_TOKENS
ROWS = 4  # running, which an autoscaler could want of a replica
START = 20.0  # seconds from the autoscaler's decision to a pod's first answer, where the image is on the node
console = Console()


def words(tokens: int, draw: random.Random) -> str:
    """A text of so many tokens, prefix and end among them."""
    return " ".join(f"w{draw.randrange(10, 32000)}" for _ in range(tokens - 2))


def measured_costs(bundle: Path, threads: int) -> Costs:
    """What reading and steps take in an engine that has work for its rows."""
    engine = Engine.load(bundle, threads=threads)
    batch, reads, steps = engine._scheduler.batch, [], defaultdict(list)
    admit, step = batch.admit, batch.step

    def timed_admit(sequences):
        began = time.perf_counter()
        failed = admit(sequences)
        if sequences:
            tokens = sum(len(sequence.input_ids) for sequence in sequences)
            reads.append((len(sequences), tokens, time.perf_counter() - began))
        return failed

    def timed_step():
        rows, began = batch.running_rows, time.perf_counter()
        left = step()
        steps[rows].append(time.perf_counter() - began)
        return left

    batch.admit, batch.step = timed_admit, timed_step
    draw = random.Random(7)
    for rows in (1, 2, 4, 8, 16, 32, 32):
        new = GenerationParams(min_new_tokens=24, max_new_tokens=24)
        engine.generate([words(draw.randint(*LENGTHS), draw) for _ in range(rows)], new)
    engine.close()
    counts = np.array([[count, tokens] for count, tokens, _ in reads], dtype=float)
    (each, token), *_ = np.linalg.lstsq(counts, np.array([seconds for *_, seconds in reads]), rcond=None)
    medians = tuple((rows, statistics.median(times)) for rows, times in sorted(steps.items()) if len(times) > 5)
    return Costs(
        max(0.0, float(each)),
        float(token),
        medians,
        rows=batch.kv_cache.rows,
        readers=batch.kv_cache.max_prefill_tokens // MAX_PREFILL_TOKENS,
        most_waiting=SERVED,
    )


def capacity(costs: Costs) -> float:
    """Texts a second of one replica that always has some waiting."""
    replica = Replica(replace(costs, most_waiting=1 << 60))
    for text in poisson(1e6, 1e-3, random.Random(1), LENGTHS, NEWS):
        text.at = 0.0
        replica.submit(text)
    count = len(replica.waiting)
    replica.advance(math.inf)
    return count / replica.clock


class Service:
    """The real service with `bundle`, on a port of its own."""

    def __init__(self, bundle: Path, home: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [str(Path(sys.executable).with_name("bentoml")), "serve", "bento.service:Summarizer"]
        own = {
            "PRECIS_BUNDLE": str(bundle),
            "PRECIS_PAGE": "false",
            "BENTOML_HOME": str(home),
            "BENTOML_DO_NOT_TRACK": "True",
        }
        with (home / "service.log").open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(port)],
                env=os.environ | own,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        for _ in range(600):
            if self.process.poll() is not None:
                raise SystemExit((home / "service.log").read_text()[-2000:])
            try:
                if httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        raise SystemExit("The service did not get ready in two minutes.")

    def latencies(self, texts: list[Text]) -> list[float]:
        """Seconds to each answer, the texts being sent at their times whatever is still unanswered."""
        draw = random.Random(9)
        bodies = [
            {"text": words(text.tokens, draw), "min_new_tokens": text.new, "max_new_tokens": text.new} for text in texts
        ]

        async def one(client: httpx.AsyncClient, body: dict, at: float, began: float) -> float:
            await asyncio.sleep(at - (time.perf_counter() - began))
            answer = await client.post(f"{self.url}/summarize", json=body)
            answer.raise_for_status()
            return time.perf_counter() - began - at

        async def everything() -> list[float]:
            async with httpx.AsyncClient(timeout=120, limits=httpx.Limits(max_connections=None)) as client:
                began = time.perf_counter()
                work = [one(client, body, text.at, began) for body, text in zip(bodies, texts, strict=True)]
                return await asyncio.gather(*work)

        return asyncio.run(everything())

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(60)


def told(latencies) -> dict[str, float]:
    return {f"p{share}": round(float(np.percentile(latencies, share)), 3) for share in (50, 95)}


def check(bundle: Path, costs: Costs, seconds: float, home: Path) -> tuple[Costs, dict]:
    """The same arrivals for both; the costs come back with what a request takes outside the engine."""
    service, most = Service(bundle, home), capacity(costs)
    try:
        single = [Text(float(i), 250, 32) for i in range(6)]
        alone = statistics.median(service.latencies(single)[1:])
        route(single, [Replica(costs)], 1, random.Random(1))
        costs = replace(costs, overhead=max(0.0, alone - single[1].latency))
        found = {}
        for load in LOADS:
            texts = list(poisson(load * most, seconds, random.Random(11), LENGTHS, NEWS))
            real = told(service.latencies(texts))
            route(texts, [Replica(costs)], 1, random.Random(1))
            simulated = told([text.latency for text in texts])
            found[str(load)] = {"requests": len(texts), "service": real, "simulation": simulated}
            console.print(f"load {load}: service {real}, simulation {simulated}", highlight=False)
    finally:
        service.stop()
    return costs, found


def tails(costs: Costs, most: float) -> dict:
    """Seconds to the 95th of 100 answers by load, for replicas behind one balancer."""
    found = {}
    for count, choices in ((1, 1), (10, 1), (10, 2), (100, 1), (100, 2)):
        row = found[f"{count} replicas, {'by chance' if choices == 1 else 'of two'}"] = {}
        for load in (0.3, 0.5, 0.6, 0.7, 0.8, 0.9):
            seconds = min(600.0, 15_000 / (load * most * count))
            texts = list(poisson(load * most * count, seconds, random.Random(3), LENGTHS, NEWS))
            route(texts, [Replica(costs) for _ in range(count)], choices, random.Random(4))
            row[str(load)] = told([text.latency for text in texts])["p95"]
    del found["1 replicas, by chance"]
    return found


def by_rows(costs: Costs, most: float) -> dict[str, float]:
    """Rows that run on average, by load: what an autoscaler can go by before anything waits."""
    found = {}
    for load in (0.3, 0.5, 0.7, 0.8, 0.9, 0.95):
        replica, seen = Replica(costs), []
        for text in poisson(load * most, 400, random.Random(3), LENGTHS, NEWS):
            replica.advance(text.at)
            seen.append(len(replica.running))  # Poisson arrivals see time averages
            replica.submit(text)
        found[str(load)] = round(statistics.mean(seen), 1)
    return found


def burst(costs: Costs, most: float, rows: float) -> dict:
    """Half a load for the fewest replicas of deploy/, five times that for ten minutes, and then as before."""
    calm, draw = 0.5 * most * FEWEST, random.Random(6)
    texts = list(poisson(calm, 1500, draw, LENGTHS, NEWS))
    more = list(poisson(4 * calm, 600, draw, LENGTHS, NEWS))
    for text in more:
        text.at += 300
    texts = sorted(texts + more, key=lambda text: text.at)
    replicas = autoscaled(texts, costs, START, MOST, draw, rows)
    minutes = [[text.latency for text in texts if minute <= text.at / 60 < minute + 1] for minute in range(25)]
    return {
        "requests_per_second": {"calm": round(calm, 2), "burst": round(5 * calm, 2)},
        "replicas": replicas,
        "replica_minutes": round(sum(count for _, count in replicas) / 4),
        "p95_by_minute": [round(float(np.nanpercentile(minute, 95)), 2) for minute in minutes],
        "refused": sum(math.isnan(text.done) for text in texts),
        "requests": len(texts),
    }


def picture(result: dict) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    loads = [float(load) for load in result["check"]]
    axes[0].set_visible(bool(loads))
    for name, style in (("service", "o-"), ("simulation", "x--")):
        for share, colour in (("p50", "tab:blue"), ("p95", "tab:red")):
            seconds = [told[name][share] for told in result["check"].values()]
            axes[0].plot(loads, seconds, style, color=colour, label=f"{name}, {share}")
    axes[0].set(title="one machine: measured and simulated", xlabel="load", ylabel="seconds to the answer")
    for name, row in result["tails"].items():
        axes[1].plot([float(load) for load in row], list(row.values()), marker=".", label=name)
    axes[1].set(title="many machines (simulated)", xlabel="load", ylabel="p95, seconds")
    for colour, (name, run) in zip(("tab:red", "tab:green"), result["burst"].items(), strict=True):
        axes[2].plot([0.5 + i for i in range(25)], run["p95_by_minute"], color=colour, label=f"p95 (s), {name}")
        times, counts = zip(*run["replicas"], strict=True)
        axes[2].step([at / 60 for at in times], counts, ":", color=colour, label=f"replicas, {name}")
    axes[2].axvspan(5, 15, alpha=0.15, color="grey")
    axes[2].set(title="five times the load for ten minutes", xlabel="minutes")
    for axis in axes:
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=8)
    figure.savefig(PICTURE, dpi=120)
    plt.close(figure)


def measure(bundle: Path, seconds: float, home: Path) -> dict:
    """Costs in the engine, and the service beside the simulation."""
    costs = measured_costs(bundle, default_threads())
    console.print(costs)
    costs, checked = check(bundle, costs, seconds, home)
    return {"costs": asdict(costs), "check": checked}


def predict(costs: Costs) -> dict:
    """What the costs mean for many machines; no more is measured."""
    most = capacity(costs)
    return {
        "texts_per_second": round(most, 2),
        "tails": tails(costs, most),
        "rows_running": by_rows(costs, most),
        "burst": {"by the queue": burst(costs, most, math.inf), f"and {ROWS} rows": burst(costs, most, ROWS)},
    }


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m research.simulate", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=40.0, help="of each load on the real service")
    parser.add_argument("--predict", action="store_true", help="from the costs that were measured last")
    options = parser.parse_args(argv)
    if options.predict:
        result = json.loads(RESULTS.read_text())
    else:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            shapes.write_model(folder / "model")
            shapes.write_bundle(folder / "model", folder / "bundle", token_ids(16))
            result = measure(folder / "bundle", options.seconds, folder)
    result |= predict(Costs(**result["costs"]))
    table = Table("p95 in seconds", *result["tails"]["10 replicas, by chance"], title="by share of the capacity")
    for name, row in result["tails"].items():
        table.add_row(name, *map(str, row.values()))
    console.print(table)
    picture(result)
    write_json(RESULTS, result)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
