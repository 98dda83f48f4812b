"""Mixed load: Poisson arrivals of texts of all lengths, with continuous batching and with static batches."""

import asyncio
import random
import time
from dataclasses import dataclass

import numpy as np

from precis import Engine, GenerationParams

STATIC_BATCH = 32  # texts at most
LOAD = 0.8  # arrivals, as a share of what the engine can do


@dataclass(frozen=True)
class MixedRequest:
    text: str
    params: GenerationParams


def requests(count: int, seed: int) -> list[MixedRequest]:
    """Texts of 50 to 900 tokens with summaries of 5 to 80, both uniformly drawn."""
    draw = random.Random(seed)
    drawn = []
    for _ in range(count):
        text = " ".join(f"w{draw.randrange(10, 32000)}" for _ in range(draw.randint(50, 900)))
        new = draw.randint(5, 80)
        drawn.append(MixedRequest(text, GenerationParams(max_new_tokens=new, min_new_tokens=new, passthrough=False)))
    return drawn


def arrival_times(count: int, rate: float, seed: int) -> list[float]:
    """Seconds at which requests arrive, `rate` a second on average."""
    draw = random.Random(seed)
    now, times = 0.0, []
    for _ in range(count):
        now += draw.expovariate(rate)
        times.append(now)
    return times


def compare(engine: Engine, count: int, warm_up: int, rounds: int) -> dict[str, object]:
    """Capacity, and latencies at 80% of it with continuous batching and with static batches.

    Of several rounds, in which the two take turns, the one with the lower p95 counts: other work only ever adds.
    """
    work = requests(count, 2)
    capacity(engine, work[:warm_up])
    most = capacity(engine, work)
    times = arrival_times(count, LOAD * most, 3)
    ways = {"continuous": continuous, "first_token": first_token, "static": static}
    runs = [{name: way(engine, work, times) for name, way in ways.items()} for _ in range(rounds)]
    return {
        "requests_per_second": round(most, 1),
        "arrivals_per_second": round(LOAD * most, 2),
        **{name: min((run[name] for run in runs), key=lambda figures: figures["p95_s"]) for name in ways},
    }


def capacity(engine: Engine, work: list[MixedRequest]) -> float:
    """Requests a second if all are there from the beginning."""

    async def all_at_once() -> None:
        await asyncio.gather(*(engine.summarize(request.text, request.params) for request in work))

    began = time.perf_counter()
    asyncio.run(all_at_once())
    return len(work) / (time.perf_counter() - began)


def continuous(engine: Engine, work: list[MixedRequest], times: list[float]) -> dict[str, float]:
    """Latencies if each request joins the running batch."""
    return asyncio.run(_arriving(engine, work, times, is_streamed=False))


def first_token(engine: Engine, work: list[MixedRequest], times: list[float]) -> dict[str, float]:
    """Times until the first token, if all requests are streamed. A random model's first tokens may have no text."""
    return asyncio.run(_arriving(engine, work, times, is_streamed=True))


async def _arriving(
    engine: Engine, work: list[MixedRequest], times: list[float], is_streamed: bool
) -> dict[str, float]:
    async def one(request: MixedRequest, at: float, began: float) -> float:
        await asyncio.sleep(at - (time.perf_counter() - began))
        if not is_streamed:
            await engine.summarize(request.text, request.params)
            return time.perf_counter() - began - at
        events = [event async for event in engine.stream(request.text, request.params)]
        return events[-1].first_token_seconds

    began = time.perf_counter()
    latencies = await asyncio.gather(*(one(request, at, began) for request, at in zip(work, times, strict=True)))
    return _percentiles(latencies, time.perf_counter() - began)


def static(engine: Engine, work: list[MixedRequest], times: list[float]) -> dict[str, float]:
    """Latencies if waiting requests are batched, and the next batch starts when the last of them is done.

    As in `generate`, all rows run until the longest of them is done.
    """

    async def everything() -> tuple[list[float], float]:
        began = time.perf_counter()
        latencies: list[float] = []
        first = 0
        while first < len(work):
            await asyncio.sleep(max(0.0, times[first] - (time.perf_counter() - began)))
            now = time.perf_counter() - began
            last = first + 1
            while last < len(work) and last - first < STATIC_BATCH and times[last] <= now:
                last += 1
            batch = work[first:last]
            longest = max((request.params for request in batch), key=lambda params: params.max_new_tokens)
            await asyncio.gather(*(engine.summarize(request.text, longest) for request in batch))
            done = time.perf_counter() - began
            latencies += [done - at for at in times[first:last]]
            first = last
        return latencies, time.perf_counter() - began

    return _percentiles(*asyncio.run(everything()))


def _percentiles(latencies: list[float], seconds: float) -> dict[str, float]:
    return {
        "p50_s": round(float(np.percentile(latencies, 50)), 3),
        "p95_s": round(float(np.percentile(latencies, 95)), 3),
        "requests_per_second": round(len(latencies) / seconds, 2),
    }
