"""Mixed load: Poisson arrivals of texts of all lengths, for the running batch and for static batches of the engine."""

import asyncio
import random
import time
from dataclasses import dataclass

import numpy as np

from precis import Engine, GenerationParams

TOGETHER = 32  # texts in a static batch


@dataclass(frozen=True)
class Call:
    text: str
    generation: GenerationParams


def calls(count: int, seed: int) -> list[Call]:
    """Texts of 50 to 900 tokens, summaries of 5 to 80, evenly drawn."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        text = " ".join(f"w{draw.randrange(10, 32000)}" for _ in range(draw.randint(50, 900)))
        new = draw.randint(5, 80)
        made.append(Call(text, GenerationParams(max_new_tokens=new, min_new_tokens=new)))
    return made


def arrivals(count: int, rate: float, seed: int) -> list[float]:
    """Seconds at which the calls come, `rate` a second on average."""
    draw = random.Random(seed)
    now, times = 0.0, []
    for _ in range(count):
        now += draw.expovariate(rate)
        times.append(now)
    return times


def capacity(engine: Engine, work: list[Call]) -> float:
    """Calls a second when all are there from the beginning."""

    async def all_at_once() -> None:
        await asyncio.gather(*(engine.summarize(call.text, call.generation) for call in work))

    began = time.perf_counter()
    asyncio.run(all_at_once())
    return len(work) / (time.perf_counter() - began)


def continuous(engine: Engine, work: list[Call], times: list[float]) -> dict[str, float]:
    """Latencies when each call joins the running batch."""

    async def one(call: Call, at: float, began: float) -> float:
        await asyncio.sleep(at - (time.perf_counter() - began))
        await engine.summarize(call.text, call.generation)
        return time.perf_counter() - began - at

    async def everything() -> tuple[list[float], float]:
        began = time.perf_counter()
        latencies = await asyncio.gather(*(one(call, at, began) for call, at in zip(work, times, strict=True)))
        return latencies, time.perf_counter() - began

    return _told(*asyncio.run(everything()))


def static(engine: Engine, work: list[Call], times: list[float]) -> dict[str, float]:
    """Latencies when those who wait are taken together, and the next batch starts when the last of them is done.

    As in `generate`, all rows run on until the longest of them is done.
    """

    async def everything() -> tuple[list[float], float]:
        began = time.perf_counter()
        latencies: list[float] = []
        first = 0
        while first < len(work):
            await asyncio.sleep(max(0.0, times[first] - (time.perf_counter() - began)))
            now = time.perf_counter() - began
            last = first + 1
            while last < len(work) and last - first < TOGETHER and times[last] <= now:
                last += 1
            batch = work[first:last]
            longest = max((call.generation for call in batch), key=lambda generation: generation.max_new_tokens)
            await asyncio.gather(*(engine.summarize(call.text, longest) for call in batch))
            done = time.perf_counter() - began
            latencies += [done - at for at in times[first:last]]
            first = last
        return latencies, time.perf_counter() - began

    return _told(*asyncio.run(everything()))


def _told(latencies: list[float], wall: float) -> dict[str, float]:
    return {
        "p50_s": round(float(np.percentile(latencies, 50)), 3),
        "p95_s": round(float(np.percentile(latencies, 95)), 3),
        "requests_per_second": round(len(latencies) / wall, 2),
    }
