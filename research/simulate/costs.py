"""Measures the engine's costs, and the service's latencies under the arrivals that the simulation gets, too.

The scheduler's constants and internals are used here and in queueing.py only.
"""

import asyncio
import logging
import random
import statistics
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
from rich.console import Console

from benchmarks.server import ROOT, START, Server
from precis import Engine, GenerationParams
from research.simulate.queueing import MAX_PREFILL_TOKENS, Costs, Replica, Text, capacity, poisson, route

logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request

LENGTHS, NEW_TOKENS = (50, 450), (8, 64)
LOADS = (0.3, 0.6, 0.85)  # of the capacity of one replica
MAX_WAITING_TOKENS = 32_768  # PRECIS_MAX_WAITING_TOKENS
console = Console()


def random_text(tokens: int, draw: random.Random) -> str:
    """A text of so many tokens, with prefix and end."""
    return " ".join(f"w{draw.randrange(10, 32000)}" for _ in range(tokens - 2))


def measure_costs(bundle: Path, threads: int, batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 32)) -> Costs:
    """Seconds for prefills and steps in an engine that gets so many texts at a time."""
    engine = Engine.load(bundle, threads=threads)
    batch, prefills, steps = engine._scheduler.batch, [], defaultdict(list)
    admit, step = batch.admit, batch.step

    def timed_admit(sequences):
        began = time.perf_counter()
        failed = admit(sequences)
        if sequences:
            tokens = sum(len(sequence.input_ids) for sequence in sequences)
            prefills.append((len(sequences), tokens, time.perf_counter() - began))
        return failed

    def timed_step():
        rows, began = batch.running_rows, time.perf_counter()
        finished = step()
        steps[rows].append(time.perf_counter() - began)
        return finished

    batch.admit, batch.step = timed_admit, timed_step
    draw = random.Random(7)
    for count in batches:
        params = GenerationParams(min_new_tokens=24, max_new_tokens=24, passthrough=False)
        engine.generate([random_text(draw.randint(*LENGTHS), draw) for _ in range(count)], params)
    engine.close()
    each, token = fit_prefill_costs(prefills)
    medians = tuple((rows, statistics.median(times)) for rows, times in sorted(steps.items()) if len(times) > 5)
    return Costs(
        each,
        token,
        medians,
        rows=batch.kv_cache.rows,
        encoders=batch.kv_cache.max_prefill_tokens // MAX_PREFILL_TOKENS,
        max_waiting=MAX_WAITING_TOKENS,
    )


def fit_prefill_costs(prefills: list[tuple[int, int, float]]) -> tuple[float, float]:
    """Seconds a text and a token: non-negative least squares on (texts, tokens, seconds) of prefills."""
    counts, seconds = np.array([prefill[:2] for prefill in prefills], dtype=float), np.array([p[2] for p in prefills])
    costs, *_ = np.linalg.lstsq(counts, seconds, rcond=None)
    if costs.min() < 0:  # noise: the other alone
        positive = costs.argmax()
        costs = np.zeros(2)
        costs[positive] = counts[:, positive] @ seconds / (counts[:, positive] @ counts[:, positive])
    return float(costs[0]), float(costs[1])


def service_latencies(url: str, texts: list[Text]) -> list[float]:
    """Seconds from arrival to answer of the service at `url`, for texts that arrive at their times."""
    draw = random.Random(9)
    bodies = [
        {"text": random_text(text.tokens, draw), "min_new_tokens": text.new, "max_new_tokens": text.new}
        for text in texts
    ]

    async def one(client: httpx.AsyncClient, body: dict, at: float, began: float) -> float:
        await asyncio.sleep(at - (time.perf_counter() - began))
        answer = await client.post(f"{url}/summarize", json=body)
        answer.raise_for_status()
        return time.perf_counter() - began - at

    async def everything() -> list[float]:
        async with httpx.AsyncClient(timeout=120, limits=httpx.Limits(max_connections=None)) as client:
            began = time.perf_counter()
            work = [one(client, body, text.at, began) for body, text in zip(bodies, texts, strict=True)]
            return await asyncio.gather(*work)

    return asyncio.run(everything())


def percentiles(latencies: list[float]) -> dict[str, float]:
    """p50 and p95 in seconds."""
    return {f"p{share}": round(float(np.percentile(latencies, share)), 3) for share in (50, 95)}


def compare_with_service(bundle: Path, costs: Costs, seconds: float, home: Path) -> tuple[Costs, dict]:
    """Latencies of service and simulation with the same arrivals, by load.

    The costs are returned with the overhead of a request outside the engine.
    """
    environment = {"PRECIS_PAGE": "false", "BENTOML_DO_NOT_TRACK": "True"}
    texts_per_second, results = capacity(costs, LENGTHS, NEW_TOKENS), {}
    with Server(START, ROOT, bundle, home, environment) as server:
        server.wait_until_ready()
        single = [Text(float(i), 250, 32) for i in range(6)]
        alone = statistics.median(service_latencies(server.url, single)[1:])
        route(single, [Replica(costs)], 1, random.Random(1))
        costs = replace(costs, overhead=max(0.0, alone - single[1].latency))
        for load in LOADS:
            texts = list(poisson(load * texts_per_second, seconds, random.Random(11), LENGTHS, NEW_TOKENS))
            real = percentiles(service_latencies(server.url, texts))
            route(texts, [Replica(costs)], 1, random.Random(1))
            simulated = percentiles([text.latency for text in texts])
            results[str(load)] = {"requests": len(texts), "service": real, "simulation": simulated}
            console.print(f"load {load}: service {real}, simulation {simulated}", highlight=False)
    return costs, results
