"""Load generators for a server: closed loop (clients wait for their answers) and open loop (arrivals do not)."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable

import aiohttp
import numpy as np

Body = Callable[[str], dict]  # makes a request's body of a text
GOLDEN = (5**0.5 - 1) / 2
SAMPLES = 400  # moments at which answers are counted


def texts(count: int, seed: int) -> list[str]:
    """Texts of 50 to 450 words of the benchmark's tokenizer (models.py), each of which is one token.

    Lengths follow the golden ratio, so that any few texts in a row have about the mean length of all. Random lengths
    would change a rate by several per cent.
    """
    draw = random.Random(seed)
    lengths = [50 + int(401 * ((seed + i) * GOLDEN % 1)) for i in range(count)]
    return [" ".join(f"w{draw.randrange(10, 32000)}" for _ in range(length)) for length in lengths]


class Recorder:
    """Sends a run's requests and records their latencies and statuses."""

    def __init__(self, url: str, body: Body) -> None:
        self.url, self.body = url, body
        self.seconds: list[float] = []
        self.refused: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.done: list[float] = []  # when each summary arrived

    async def post(self, session: aiohttp.ClientSession, text: str) -> None:
        """Sends one request and waits for its answer; status 0 is a broken connection or no answer in time."""
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

    def summary(self, begin: float, length: float, before: tuple[float, ...] = ()) -> dict[str, object]:
        """Rate, latencies and statuses of `length` seconds from `begin` on; `before` are arrivals of earlier summaries.

        The rate is the slope of the number of answers. Texts of equal lengths are done a batch at a time, and to
        count them is to count how many batches the window happens to contain.
        """
        moments = np.linspace(0.0, length, SAMPLES)
        done = np.searchsorted(np.sort([*self.done, *before]), begin + moments)
        result = {
            "summaries_per_second": round(float(np.polyfit(moments, done, 1)[0]), 2),
            "p50_s": round(float(np.percentile(self.seconds, 50)), 3) if self.seconds else None,
            "p99_s": round(float(np.percentile(self.seconds, 99)), 3) if self.seconds else None,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
        }
        if self.refused:
            result["refused_p50_ms"] = round(1000 * float(np.percentile(self.refused, 50)), 1)
            result["refused_p99_ms"] = round(1000 * float(np.percentile(self.refused, 99)), 1)
        return result


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=150), read_bufsize=1 << 16
    )


async def closed(url: str, body: Body, clients: int, length: float) -> dict[str, object]:
    """Clients that ask again as soon as they are answered, for `length` seconds.

    They start one by one in a fifth of that time before it, whose answers do not count for the rate.
    """
    recorder, pool = Recorder(url, body), texts(512, 2)
    async with _session() as session:
        started = time.perf_counter()
        begin = started + length / 5

        async def client(first: int) -> None:
            await asyncio.sleep(length / 5 * first / clients)
            index = first
            while time.perf_counter() < begin + length:
                await recorder.post(session, pool[index % len(pool)])
                index += clients

        await asyncio.gather(*(client(first) for first in range(clients)))
    return recorder.summary(begin, length)


async def open_loop(url: str, body: Body, rate: float, length: float) -> dict[str, object]:
    """Poisson arrivals, `rate` a second on average, independent of the answers, for `length` seconds.

    A fifth of that time before it fills the queue and is not counted.
    """
    draw, pool = random.Random(3), texts(512, 3)
    warm_up, recorder = Recorder(url, body), Recorder(url, body)
    async with _session() as session:
        started, sent = time.perf_counter(), []
        at, begin = started, started + length / 5
        while at < begin + length:
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            current = recorder if at > begin else warm_up
            sent.append(asyncio.create_task(current.post(session, pool[len(sent) % len(pool)])))
            at += draw.expovariate(rate)
        await asyncio.gather(*sent)
    return recorder.summary(begin, length, tuple(warm_up.done))
