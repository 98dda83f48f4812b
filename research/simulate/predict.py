"""Predictions of the simulation for many replicas, and their picture."""

import math
import random
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from research.simulate.costs import LENGTHS, NEW_TOKENS, percentiles
from research.simulate.queueing import (
    MAX_REPLICAS,
    MIN_REPLICAS,
    Costs,
    Replica,
    Text,
    autoscale,
    capacity,
    poisson,
    route,
)

ROWS = 4  # running, which an autoscaler could aim at for each replica
START = 20.0  # seconds from the autoscaler's decision to a pod's first answer, if the node has the image
RANDOM, TWO_CHOICES = "random", "less busy of two"


def predict(costs: Costs) -> dict:
    """Capacity, latencies of many replicas by load, running rows by load, and a burst with two autoscaling rules."""
    most = capacity(costs, LENGTHS, NEW_TOKENS)
    return {
        "callers": callers(costs),
        "first_token": first_token(costs, most),
        "texts_per_second": round(most, 2),
        "tails": tails(costs, most),
        "rows_running": rows_by_load(costs, most),
        "burst": {"by the queue": burst(costs, most, math.inf), f"and {ROWS} rows": burst(costs, most, ROWS)},
    }


def tails(costs: Costs, most: float) -> dict[str, dict[str, float]]:
    """p95 in seconds by load, for replicas behind one load balancer."""
    results = {}
    for count, choices in ((10, 1), (10, 2), (100, 1), (100, 2)):
        row = results[f"{count} replicas, {RANDOM if choices == 1 else TWO_CHOICES}"] = {}
        for load in (0.3, 0.5, 0.6, 0.7, 0.8, 0.9):
            seconds = min(600.0, 15_000 / (load * most * count))
            texts = list(poisson(load * most * count, seconds, random.Random(3), LENGTHS, NEW_TOKENS))
            route(texts, [Replica(costs) for _ in range(count)], choices, random.Random(4))
            row[str(load)] = percentiles([text.latency for text in texts])["p95"]
    return results


def callers(costs: Costs, seconds: int = 30) -> dict[str, dict[str, float]]:
    """A caller that sends a text a second, alone and beside a heavy one: its p95, and all texts a second.

    The heavy one has ten thousand chunks of a long text waiting, or 64 requests under way all the time. It begins two
    seconds before the other.
    """
    results = {}
    for name, chunks, parallel in (("alone", 0, 0), ("long text", 10_000, 0), ("64 requests", 0, 64)):
        draw, replica = random.Random(8), Replica(replace(costs, max_waiting=1 << 60))
        light = [
            Text(2 + i + draw.random(), draw.randint(200, 350), draw.randint(30, 60), "light") for i in range(seconds)
        ]
        heavy = [Text(0.0, max(LENGTHS), 40, "heavy") for _ in range(chunks)]
        current = [_heavy_text(0.0, draw) for _ in range(parallel)]
        for text in heavy + current:
            replica.submit(text)
        for text in light:
            while replica.clock < text.at and replica.outstanding:
                replica.step()
                for i, done in enumerate(current):
                    if not math.isnan(done.done):
                        heavy.append(done)
                        current[i] = _heavy_text(replica.clock, draw)
                        replica.submit(current[i])
            replica.submit(text)
        replica.advance(seconds + 4.0)
        finished = sum(text.done <= seconds + 2 for text in light + heavy)
        p95 = percentiles([text.latency for text in light])["p95"]
        results[name] = {"p95": p95, "texts_per_second": round(finished / (seconds + 2), 1)}
    return results


def first_token(costs: Costs, most: float) -> dict[str, dict[str, float]]:
    """p95 in seconds to the first token and to the answer at 80% of capacity, streamed and not."""
    results = {}
    for streamed in (False, True):
        texts = list(poisson(0.8 * most, 120, random.Random(3), LENGTHS, NEW_TOKENS))
        for text in texts:
            text.streamed = streamed
        route(texts, [Replica(costs)], 1, random.Random(4))
        first = percentiles([text.first - text.at for text in texts])["p95"]
        answer = percentiles([text.latency for text in texts])["p95"]
        results["streamed" if streamed else "not streamed"] = {"first_token": first, "answer": answer}
    return results


def _heavy_text(at: float, draw: random.Random) -> Text:
    return Text(at, draw.randint(*LENGTHS), draw.randint(*NEW_TOKENS), "heavy")


def rows_by_load(costs: Costs, most: float) -> dict[str, float]:
    """Mean running rows by load: a signal for an autoscaler before anything waits."""
    results = {}
    for load in (0.3, 0.5, 0.7, 0.8, 0.9, 0.95):
        replica, rows = Replica(costs), []
        for text in poisson(load * most, 400, random.Random(3), LENGTHS, NEW_TOKENS):
            replica.advance(text.at)
            rows.append(len(replica.running))  # Poisson arrivals see time averages
            replica.submit(text)
        results[str(load)] = round(statistics.mean(rows), 1)
    return results


def burst(costs: Costs, most: float, rows: float) -> dict:
    """Half the load of deploy/'s fewest replicas, five times that for ten minutes, and then as before."""
    calm, draw = 0.5 * most * MIN_REPLICAS, random.Random(6)
    texts = list(poisson(calm, 1500, draw, LENGTHS, NEW_TOKENS))
    more = list(poisson(4 * calm, 600, draw, LENGTHS, NEW_TOKENS))
    for text in more:
        text.at += 300
    texts = sorted(texts + more, key=lambda text: text.at)
    replicas = autoscale(texts, costs, START, MAX_REPLICAS, draw, rows)
    minutes = [[text.latency for text in texts if minute <= text.at / 60 < minute + 1] for minute in range(25)]
    return {
        "requests_per_second": {"calm": round(calm, 2), "burst": round(5 * calm, 2)},
        "replicas": replicas,
        "replica_minutes": round(sum(count for _, count in replicas) / 4),
        "p95_by_minute": [round(float(np.nanpercentile(minute, 95)), 2) for minute in minutes],
        "refused": sum(math.isnan(text.done) for text in texts),
        "requests": len(texts),
    }


def draw_results(result: dict, path: Path) -> None:
    """Draws service and simulation, latencies of many replicas, and the burst."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    loads = [float(load) for load in result["check"]]
    axes[0].set_visible(bool(loads))
    for name, style in (("service", "o-"), ("simulation", "x--")):
        for share, colour in (("p50", "tab:blue"), ("p95", "tab:red")):
            seconds = [row[name][share] for row in result["check"].values()]
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
    figure.savefig(path, dpi=120)
