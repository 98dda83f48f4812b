"""A light caller beside a heavy one: python -m benchmarks.fairness [BUNDLE] [--seconds 20] [--modes write extract].

The light caller sends a text of the validation data a second. Its 95th percentile is measured alone, then while another
API key's text of 500,000 characters is summarized, then while the other has 64 requests under way all the time. The
goal is at most twice the value alone, on an otherwise idle machine. All takes under three minutes. The last line is
JSON.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import secrets
import tempfile
import time
from pathlib import Path

import aiohttp
import numpy as np

from benchmarks.server import ROOT, START, Server

LONG_TEXT = 500_000  # characters
PARALLEL = 64  # requests of the heavy caller
HEAD_START = 5  # seconds of the heavy caller


class Client:
    """A caller with an API key of its own."""

    def __init__(self, session: aiohttp.ClientSession, key: str, mode: str) -> None:
        self._session, self._headers, self._mode = session, {"X-API-Key": key}, mode

    async def summarize(self, text: str) -> float:
        """Seconds until the summary is there; a refused request is sent again after its Retry-After."""
        began = time.perf_counter()
        body = {"text": text, "mode": self._mode, "passthrough": False}
        while True:
            async with self._session.post("/summarize", json=body, headers=self._headers) as answer:
                await answer.read()
                if answer.status != 429:
                    answer.raise_for_status()
                    return time.perf_counter() - began
            await asyncio.sleep(float(answer.headers["Retry-After"]))

    async def summarize_all_the_time(self, texts: list[str]) -> None:
        """One text after the other."""
        for text in itertools.cycle(texts):
            await self.summarize(text)

    async def p95(self, texts: list[str], count: int) -> float:
        """The 95th percentile in seconds of `count` texts, one a second."""
        tasks = []
        for text in itertools.islice(itertools.cycle(texts), count):
            tasks.append(asyncio.create_task(self.summarize(text)))
            await asyncio.sleep(1)
        return float(np.percentile(await asyncio.gather(*tasks), 95))


async def measure(url: str, keys: tuple[str, str], mode: str, texts: list[str], seconds: int) -> dict[str, object]:
    """The light caller's 95th percentile alone and beside each heavy load."""
    long_text = "\n\n".join(itertools.islice(itertools.cycle(texts), LONG_TEXT // min(map(len, texts))))[:LONG_TEXT]
    loads = {"long_text": [[long_text]], "parallel": [texts[first:] + texts[:first] for first in range(PARALLEL)]}
    timeout, connector = aiohttp.ClientTimeout(total=None), aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(url, timeout=timeout, connector=connector) as session:
        light, heavy = (Client(session, key, mode) for key in keys)
        await light.p95(texts, 3)  # warms up
        alone = await light.p95(texts, seconds)
        result: dict[str, object] = {"alone_p95_s": round(alone, 3)}
        for name, loops in loads.items():
            load = asyncio.gather(*map(heavy.summarize_all_the_time, loops))
            await asyncio.sleep(HEAD_START)
            p95 = await light.p95(texts, seconds)
            result[name] = {"p95_s": round(p95, 3), "ratio": round(p95 / alone, 2)}
            print(f"{mode}, {name}: p95 {p95:.3f} s, {p95 / alone:.2f} times {alone:.3f} s alone", flush=True)
            load.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await load  # raises what went wrong
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairness", description=__doc__.splitlines()[0])
    parser.add_argument("bundle", nargs="?", type=Path, default=ROOT / "artifacts/embedded/bundle-int8")
    parser.add_argument("--seconds", type=int, default=20, help="of each load; a text a second")
    parser.add_argument("--modes", nargs="+", choices=("write", "extract"), default=["write", "extract"])
    options = parser.parse_args()
    lines = (ROOT / "data/gazette/validation.jsonl").read_text().splitlines()
    texts = [json.loads(line)["document"] for line in lines]
    keys = secrets.token_urlsafe(), secrets.token_urlsafe()
    environment = {"PRECIS_API_KEYS": ",".join(keys), "PRECIS_TIMEOUT_SECONDS": "600"}
    with tempfile.TemporaryDirectory() as home, Server(START, ROOT, options.bundle, Path(home), environment) as server:
        server.wait_until_ready()
        result = {mode: asyncio.run(measure(server.url, keys, mode, texts, options.seconds)) for mode in options.modes}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
