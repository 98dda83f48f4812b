"""Summaries a second of the engine without HTTP: python -m benchmarks.engine_alone BUNDLE DEVICE THREADS NEW SECONDS.

NEW tokens are written for each text. A part of benchmarks.service, which pins this process to the servers' cores.
"""

import asyncio
import sys
import time
from pathlib import Path

from benchmarks.loads import texts
from precis import Engine, GenerationParams

CALLERS = 64


def throughput(bundle: Path, device: str, threads: int, new: int, seconds: float) -> float:
    """Summaries a second with CALLERS callers that ask again as soon as they are answered."""
    engine = Engine.load(bundle, device=device, threads=threads, max_waiting_tokens=1 << 30)
    params = GenerationParams(max_new_tokens=new, min_new_tokens=new, num_beams=1, passthrough=False)
    pool = texts(512, 1)

    async def run(length: float) -> float:
        began, done = time.perf_counter(), 0

        async def caller(first: int) -> None:
            nonlocal done
            index = first
            while time.perf_counter() < began + length:
                await engine.summarize(pool[index % len(pool)], params)
                done += 1
                index += CALLERS

        await asyncio.gather(*(caller(first) for first in range(CALLERS)))
        return done / (time.perf_counter() - began)

    asyncio.run(run(1.0))
    rate = asyncio.run(run(seconds))
    engine.close()
    return rate


if __name__ == "__main__":
    bundle, device, threads, new, seconds = sys.argv[1:]
    print(throughput(Path(bundle), device, int(threads), int(new), float(seconds)))
