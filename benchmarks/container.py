"""A container image by figures: its size, the time from start to ready, memory at rest and with all its rows in use.

python -m benchmarks.container [IMAGE]

Needs a container engine and an otherwise idle machine. The load is Gazette's validation documents from 32 clients, each
three times over, so that rows are full; summaries a second are those of this load. The last line is JSON.
"""

import argparse
import json
import statistics
import subprocess
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

VALIDATION = Path(__file__).parent.parent / "data/gazette/validation.jsonl"
LOCKED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--memory", "4g")
CLIENTS, DOCUMENTS, STARTS = 32, 96, 3
PATIENCE = 120.0  # seconds


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def start(image: str) -> tuple[str, str, float]:
    """Name and address of a started container, and the seconds from `docker run` until /readyz answered."""
    began = time.perf_counter()
    name = docker("run", "--detach", "--publish", "127.0.0.1::3000", *LOCKED, image)
    url = f"http://{docker('port', name, '3000/tcp').splitlines()[0]}"
    while time.perf_counter() - began < PATIENCE:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=2):
                return name, url, time.perf_counter() - began
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.02)
    raise SystemExit(f"{image} was not ready within {PATIENCE:.0f} s.")


def memory(name: str) -> float:
    """MiB that the container uses, file cache left out."""
    used = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", name).split(" / ")[0]
    units = {"KiB": 1 / 1024, "MiB": 1, "GiB": 1024}
    return float(used[:-3]) * units[used[-3:]]


def load(url: str, name: str) -> tuple[float, float]:
    """Summaries a second under load, and the most memory seen meanwhile, in MiB."""
    lines = VALIDATION.read_text(encoding="utf-8").splitlines()[:DOCUMENTS]
    bodies = [json.dumps({"text": json.loads(line)["document"] * 3, "max_new_tokens": 64}).encode() for line in lines]

    def ask(body: bytes) -> None:
        request = urllib.request.Request(f"{url}/summarize", body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=PATIENCE).close()

    began, seen = time.perf_counter(), [0.0]
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = [pool.submit(ask, body) for body in bodies]
        while not all(answer.done() for answer in answers):
            seen.append(memory(name))
        for answer in answers:
            answer.result()
    return DOCUMENTS / (time.perf_counter() - began), max(seen)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.container", description=__doc__.splitlines()[0])
    parser.add_argument("image", nargs="?", default="precis:latest")
    image = parser.parse_args().image
    size = int(docker("inspect", "--format", "{{.Size}}", image)) / 1e6
    ready = []
    for _ in range(STARTS):
        name, url, seconds = start(image)
        ready.append(seconds)
        if len(ready) < STARTS:
            docker("rm", "--force", name)
    try:
        early = memory(name)
        urllib.request.urlopen(f"{url}/ui/", timeout=PATIENCE).close()
        rest = memory(name)
        rate, most = load(url, name)
    finally:
        docker("rm", "--force", name)
    result = {
        "image": image,
        "megabytes": round(size),
        "ready_seconds": round(statistics.median(ready), 1),
        "mebibytes": {"ready": round(early), "with_page": round(rest), "under_load": round(most)},
        "summaries_per_second": round(rate, 1),
    }
    print(
        f"{image}: {result['megabytes']} MB, ready after {result['ready_seconds']} s (median of {STARTS}); "
        f"memory when ready {early:.0f} MiB, with the page {rest:.0f}, under load {most:.0f}; "
        f"{rate:.1f} summaries a second from {CLIENTS} clients"
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
