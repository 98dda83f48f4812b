"""Load for a summarizing server: clients that wait for their answer, and arrivals that do not."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable

import aiohttp
import numpy as np

Body = Callable[[str], dict]  # a request's body of a text
GOLDEN = (5**0.5 - 1) / 2
MOMENTS = 400  # at which answers are counted


def texts(count: int, seed: int) -> list[str]:
    """Words of the benchmark's tokenizer (shapes.py), one a token: 50 to 450 each.

    Lengths go round by the golden ratio, so that those of any few texts in a row have about the mean of all. Chance
    would be worth several per cent of a rate.
    """
    draw = random.Random(seed)
    lengths = [50 + int(401 * ((seed + i) * GOLDEN % 1)) for i in range(count)]
    return [" ".join(f"w{draw.randrange(10, 32000)}" for _ in range(length)) for length in lengths]


class Calls:
    """What a run's requests came to."""

    def __init__(self, url: str, body: Body) -> None:
        self.url, self.body = url, body
        self.seconds: list[float] = []
        self.refused: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.done: list[float] = []  # when each summary was there

    async def one(self, session: aiohttp.ClientSession, text: str) -> None:
        began = time.perf_counter()
        try:
            async with session.post(f"{self.url}/summarize", json=self.body(text)) as answer:
                await answer.read()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError):
            status = 0
        now = time.perf_counter()
        self.statuses[status] += 1
        if status == 200:
            self.seconds.append(now - began)
            self.done.append(now)
        else:
            self.refused.append(now - began)

    def told(self, begin: float, length: float, before: tuple[float, ...] = ()) -> dict[str, float]:
        """Figures of `length` seconds from `begin` on; `before` are times of summaries that were asked for earlier.

        The rate is the slope of the number of answers. Texts of equal lengths are done in lots of a whole batch, and
        to count them is to count how many lots the window happens to hold.
        """
        moments = np.linspace(0.0, length, MOMENTS)
        done = np.searchsorted(np.sort([*self.done, *before]), begin + moments)
        found = {
            "summaries_per_second": round(float(np.polyfit(moments, done, 1)[0]), 2),
            "p50_s": round(float(np.percentile(self.seconds, 50)), 3) if self.seconds else None,
            "p99_s": round(float(np.percentile(self.seconds, 99)), 3) if self.seconds else None,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
        }
        if self.refused:
            found["refused_p50_ms"] = round(1000 * float(np.percentile(self.refused, 50)), 1)
            found["refused_p99_ms"] = round(1000 * float(np.percentile(self.refused, 99)), 1)
        return found


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=150), read_bufsize=1 << 16
    )


async def closed(url: str, body: Body, clients: int, length: float) -> dict[str, float]:
    """Each client asks again as soon as it is answered; they come one by one in the first fifth, in which no answer is
    counted for the rate."""
    calls, pool = Calls(url, body), texts(512, 2)
    async with _session() as session:
        own, started = _processor_seconds(), time.perf_counter()
        begin = started + length / 5

        async def client(first: int) -> None:
            await asyncio.sleep(length / 5 * first / clients)
            index = first
            while time.perf_counter() < begin + length:
                await calls.one(session, pool[index % len(pool)])
                index += clients

        await asyncio.gather(*(client(first) for first in range(clients)))
    return calls.told(begin, length) | _share(own, started)


async def open_loop(url: str, body: Body, rate: float, length: float) -> dict[str, float]:
    """Arrivals at random, `rate` a second on average, whatever becomes of the earlier ones; the first fifth fills the
    queue and is not counted."""
    draw, pool = random.Random(3), texts(512, 3)
    warm, calls = Calls(url, body), Calls(url, body)
    async with _session() as session:
        own, started, asked = _processor_seconds(), time.perf_counter(), []
        at, begin = started, started + length / 5
        while at < begin + length:
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            now = calls if at > begin else warm
            asked.append(asyncio.create_task(now.one(session, pool[len(asked) % len(pool)])))
            at += draw.expovariate(rate)
        await asyncio.gather(*asked)
    return calls.told(begin, length, tuple(warm.done)) | _share(own, started)


def _processor_seconds() -> float:
    return sum(os.times()[:2])


def _share(before: float, began: float) -> dict[str, float]:
    """How much of a processor the clients themselves took, which the server lacked."""
    return {"clients_processors": round((_processor_seconds() - before) / (time.perf_counter() - began), 2)}
