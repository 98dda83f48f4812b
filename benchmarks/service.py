"""The service over HTTP: closed-loop clients, open-loop arrivals up to ten times what it can do, and its peers.

python -m benchmarks.service [--quick]

t5-small's shape with random weights, texts of 50 to 450 tokens, 48 new tokens, greedy. Peers in the same run: the
engine alone (no HTTP), and the usual BentoML way, adaptive batching over ORTModelForSeq2SeqLM
(benchmarks/plain_bento.py). The clients run on the same cores, so HTTP and clients are in the service's figures. Also:
seconds from process start to the first answer and to the page, and resident memory. Writes
benchmarks/results/service.json; the last line is JSON.
"""

import argparse
import asyncio
import atexit
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import aiohttp
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from engine.machine import default_threads
from finetune.files import write_json

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
NEW = 48
CLIENTS = (1, 8, 32, 128)
OVERLOADS = (0.5, 1, 2, 10)  # arrivals in parts of the engine's own throughput
CHECKED_EVERY = 0.05  # seconds
console = Console()


def texts(count: int, seed: int) -> list[str]:
    """Words of the random model's tokenizer, one a token."""
    draw = random.Random(seed)
    return [" ".join(f"w{draw.randrange(10, 32000)}" for _ in range(draw.randint(50, 450))) for _ in range(count)]


def engine_alone(bundle: Path, threads: int, seconds: float) -> float:
    """Summaries a second with 64 callers in this process."""
    from engine import Engine, Generation

    engine = Engine.load(bundle, threads=threads, max_waiting_tokens=1 << 30)
    generation = Generation(max_new_tokens=NEW, min_new_tokens=NEW, num_beams=1)
    pool = texts(512, 1)

    async def run(length: float) -> float:
        began, done = time.perf_counter(), 0

        async def caller(first: int) -> None:
            nonlocal done
            index = first
            while time.perf_counter() < began + length:
                await engine.summarize(pool[index % len(pool)], generation)
                done += 1
                index += 64

        await asyncio.gather(*(caller(first) for first in range(64)))
        return done / (time.perf_counter() - began)

    asyncio.run(run(1.0))
    rate = asyncio.run(run(seconds))
    engine.close()
    return rate


class Server:
    """A BentoML server in a process of its own."""

    def __init__(self, name: str, folder: Path, variables: dict[str, str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log = (folder / f"{name.replace(':', '-')}.log").open("w")
        environment = {**os.environ, "BENTOML_HOME": str(folder / name.partition(":")[0]), **variables}
        self.began = time.perf_counter()
        bentoml = str(Path(sys.executable).with_name("bentoml"))
        self._process = subprocess.Popen(
            [bentoml, "serve", name, "--port", str(port)],
            cwd=ROOT,
            env=environment,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        atexit.register(self.stop)

    def wait(self, path: str, body: dict | None = None) -> float:
        """Seconds since the process was started until `path` answers."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        while time.perf_counter() - self.began < 180:
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(request, timeout=60):
                    return time.perf_counter() - self.began
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(CHECKED_EVERY)
        raise SystemExit(f"{self.url} does not answer: {Path(self._log.name).read_text()[-2000:]}")

    def memory(self) -> int:
        """Resident bytes of the process that answers."""
        return max(child.memory_info().rss for child in psutil.Process(self._process.pid).children())

    def stop(self) -> None:
        if self._process.poll() is not None:
            return
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()
        self._log.close()


class Calls:
    """What a run's requests came to. `body` makes a request's body of a text."""

    def __init__(self, url: str, body) -> None:
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
        """Figures of `length` seconds from `begin` on; `before` are times of summaries that were asked for earlier."""
        in_time = sum(begin <= at <= begin + length for at in (*self.done, *before))
        found = {
            "summaries_per_second": round(in_time / length, 2),
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


async def closed(url: str, body, clients: int, length: float) -> dict[str, float]:
    """Each client asks again as soon as it is answered."""
    calls, pool = Calls(url, body), texts(512, 2)
    async with _session() as session:
        begin = time.perf_counter()

        async def client(first: int) -> None:
            index = first
            while time.perf_counter() < begin + length:
                await calls.one(session, pool[index % len(pool)])
                index += clients

        await asyncio.gather(*(client(first) for first in range(clients)))
    return calls.told(begin, length)


async def open_loop(url: str, body, rate: float, length: float) -> dict[str, float]:
    """Arrivals at random, `rate` a second on average, whatever becomes of the earlier ones; the first fifth fills the
    queue and is not counted."""
    draw, pool = random.Random(3), texts(512, 3)
    warm, calls = Calls(url, body), Calls(url, body)
    async with _session() as session:
        at, asked = time.perf_counter(), []
        begin = at + length / 5
        while at < begin + length:
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            now = calls if at > begin else warm
            asked.append(asyncio.create_task(now.one(session, draw.choice(pool))))
            at += draw.expovariate(rate)
        await asyncio.gather(*asked)
    return calls.told(begin, length, tuple(warm.done))


def show(title: str, rows: dict[str, dict]) -> None:
    table = Table("load", "summaries/s", "p50 s", "p99 s", "answers", "refused p99 ms", title=title)
    for name, row in rows.items():
        answers = ", ".join(f"{count} x {status}" for status, count in row["statuses"].items())
        table.add_row(
            name, str(row["summaries_per_second"]), str(row["p50_s"]), str(row["p99_s"]), answers,
            str(row.get("refused_p99_ms", "")),
        )  # fmt: skip
    console.print(table)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="three seconds a load, without the peer; too short for figures"
    )
    parser.add_argument("--models", type=Path, help="folder where the random model and its bundles are kept")
    parser.add_argument("--alone", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.alone:
        bundle, threads, seconds = options.alone
        print(engine_alone(Path(bundle), int(threads), float(seconds)))
        return 0
    from benchmarks import plain_bento, shapes

    threads, length = default_threads(), 3.0 if options.quick else 9.0
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.models or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "int8").exists():
            console.print("a random model of t5-small's shape, and its bundle")
            shapes.write_model(folder / "model")
            calibration = [[3, *range(10, 408), 1] for _ in range(4)]
            shapes.write_bundle(folder / "model", folder / "int8", calibration)
        if not options.quick and not (folder / "plain").exists():
            plain_bento.export(folder / "model", folder / "plain")

        command = [sys.executable, "-m", "benchmarks.service", "--alone", str(folder / "int8"), str(threads)]
        done = subprocess.run([*command, str(length)], cwd=ROOT, capture_output=True, text=True, check=True)
        alone = float(done.stdout.split()[-1])
        console.print(f"the engine alone: {alone:.2f} summaries a second")
        result: dict = {"threads": threads, "engine_alone": round(alone, 2)}

        def body(text: str) -> dict:
            return {"text": text, "max_new_tokens": NEW, "min_new_tokens": NEW, "num_beams": 1}

        ours = Server(
            "bento.service:Summarizer",
            Path(scratch),
            {"PRECIS_BUNDLE": str(folder / "int8"), "PRECIS_THREADS": str(threads)},
        )
        answered = ours.wait("/summarize", {"text": "w10 w11", "max_new_tokens": 4})
        page = ours.wait("/ui/")
        size = sum(path.stat().st_size for path in (folder / "int8").iterdir())
        result["startup"] = {
            "first_answer_s": round(answered, 2),
            "page_s": round(page, 2),
            "resident_mib": round(ours.memory() / 2**20),
            "bundle_mib": round(size / 2**20),
        }
        console.print(result["startup"])
        result["closed"] = {
            f"{clients} clients": asyncio.run(closed(ours.url, body, clients, length)) for clients in CLIENTS
        }
        show("Precis, closed loop", result["closed"])
        result["open"] = {
            f"{part:g} x capacity": asyncio.run(open_loop(ours.url, body, part * alone, length)) for part in OVERLOADS
        }
        show("Precis, open loop", result["open"])
        result["startup"]["resident_after_load_mib"] = round(ours.memory() / 2**20)
        ours.stop()
        saturated, overloaded = result["closed"]["128 clients"], result["open"]["10 x capacity"]
        peak = max(row["summaries_per_second"] for row in result["closed"].values())
        result["ratios"] = {
            "saturation_to_engine_alone": round(peak / alone, 3),
            "overload_goodput_to_peak": round(overloaded["summaries_per_second"] / peak, 3),
            "overload_p99_to_saturation": round(overloaded["p99_s"] / saturated["p99_s"], 2),
        }
        if not options.quick:
            variables = {
                "PLAIN_MODEL": str(folder / "plain"),
                "PLAIN_THREADS": str(threads),
                "PLAIN_NEW_TOKENS": str(NEW),
            }
            plain = Server("benchmarks.plain_bento:Plain", Path(scratch), variables)
            plain.wait("/summarize", {"texts": ["w10 w11"]})

            def listed(text: str) -> dict:
                return {"texts": [text]}

            result["plain"] = {
                f"{clients} clients": asyncio.run(closed(plain.url, listed, clients, length)) for clients in CLIENTS
            }
            show("plain BentoML, closed loop", result["plain"])
            plain.stop()
            best = max(row["summaries_per_second"] for row in result["plain"].values())
            result["ratios"] |= {
                "throughput_to_plain": round(peak / best, 2),
                "p99_of_plain": {
                    name: round(row["p99_s"] / result["plain"][name]["p99_s"], 2)
                    for name, row in result["closed"].items()
                    if result["plain"][name]["p99_s"]
                },
            }
            write_json(RESULTS / "service.json", result)
    console.print(result["ratios"])
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
