"""A light caller beside a heavy one: python -m benchmarks.fairness [BUNDLE] [--seconds 30] [--modes write extract].

The light caller sends a text of the validation data a second. Its 95th percentile is measured alone, then while another
API key's text of 500,000 characters is summarized, then while the other has 64 requests under way all the time. The
goal is at most twice the value alone. The last line is JSON.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import numpy as np
from rich.console import Console

from benchmarks.server import ROOT, START, Server

LONG_TEXT = 500_000  # characters
PARALLEL = 64  # requests of the heavy caller
GOAL = 2.0  # times the value alone
console = Console()
Work = Callable[["Client"], Awaitable[object]]


class Client:
    """A caller with an API key of its own."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str, mode: str) -> None:
        self._session, self._url, self._key, self._mode = session, url, key, mode
        self.answers = 0

    async def summarize(self, text: str) -> float:
        """Seconds until the summary is there; refused requests are sent again after their Retry-After."""
        began = time.perf_counter()
        body = {"text": text, "mode": self._mode, "passthrough": False}
        headers = {"X-API-Key": self._key}
        while True:
            async with self._session.post(f"{self._url}/summarize", json=body, headers=headers) as answer:
                await answer.read()
                if answer.status == 200:
                    self.answers += 1
                    return time.perf_counter() - began
                if answer.status not in (429, 504):
                    answer.raise_for_status()
                await asyncio.sleep(float(answer.headers.get("Retry-After", "0")))


def heavy_loads(documents: list[str]) -> dict[str, Work]:
    """What the heavy caller does all the time."""
    long_text = "\n\n".join(itertools.islice(itertools.cycle(documents), LONG_TEXT // min(map(len, documents))))

    async def again_and_again(client: Client, texts: list[str]) -> None:
        for text in itertools.cycle(texts):
            await client.summarize(text)

    async def parallel(client: Client) -> None:
        await asyncio.gather(*(again_and_again(client, documents[i:] + documents[:i]) for i in range(PARALLEL)))

    return {
        "long_text": lambda client: again_and_again(client, [long_text[:LONG_TEXT]]),
        "parallel": parallel,
    }


async def light_latencies(client: Client, documents: list[str], count: int) -> list[float]:
    """Seconds to each answer of one text a second."""
    tasks = []
    for text in itertools.islice(itertools.cycle(documents), count):
        tasks.append(asyncio.create_task(client.summarize(text)))
        await asyncio.sleep(1)
    return await asyncio.gather(*tasks)


async def measure(url: str, keys: tuple[str, str], mode: str, documents: list[str], seconds: int) -> dict[str, object]:
    """The light caller's 95th percentile alone and beside each heavy load."""
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        light = Client(session, url, keys[0], mode)
        await light_latencies(light, documents, 3)
        alone = float(np.percentile(await light_latencies(light, documents, seconds), 95))
        result: dict[str, object] = {"alone_p95_s": round(alone, 3)}
        for name, load in heavy_loads(documents).items():
            heavy = Client(session, url, keys[1], mode)
            task = asyncio.ensure_future(load(heavy))
            await asyncio.sleep(5)  # a long text is tokenized first
            p95 = float(np.percentile(await light_latencies(light, documents, seconds), 95))
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            result[name] = {"p95_s": round(p95, 3), "ratio": round(p95 / alone, 2), "heavy_answers": heavy.answers}
            console.print(f"{mode}, {name}: p95 {p95:.3f} s, {p95 / alone:.2f} times {alone:.3f} s alone (goal {GOAL})")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairness", description=__doc__.splitlines()[0])
    parser.add_argument("bundle", nargs="?", type=Path, default=ROOT / "artifacts/embedded/bundle-int8")
    parser.add_argument(
        "--seconds", type=int, default=30, help="texts of the light caller, one a second, for each load"
    )
    parser.add_argument("--modes", nargs="+", choices=("write", "extract"), default=["write", "extract"])
    options = parser.parse_args()
    lines = (ROOT / "data/gazette/validation.jsonl").read_text().splitlines()
    documents = [json.loads(line)["document"] for line in lines]
    with tempfile.TemporaryDirectory() as scratch:
        keys = secrets.token_urlsafe(), secrets.token_urlsafe()
        environment = {"PRECIS_API_KEYS": ",".join(keys), "PRECIS_TIMEOUT_SECONDS": "600"}
        with Server(START, ROOT, options.bundle, Path(scratch), environment) as server:
            server.wait_until_ready()
            result = {m: asyncio.run(measure(server.url, keys, m, documents, options.seconds)) for m in options.modes}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
