"""A container image in figures: its size, the time from start to ready, and memory at rest and with all rows in use.

    python -m benchmarks.container [IMAGE]

Needs a container engine and an otherwise idle machine. The load is Gazette's validation documents from 32 clients, each
three times as long, so that all rows are in use; summaries a second are of this load. The last line is JSON.
"""

import argparse
import json
import statistics
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from benchmarks.server import ROOT, wait_for_answer

VALIDATION = ROOT / "data/gazette/validation.jsonl"
RESTRICTIONS = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--memory", "4g")
CLIENTS, DOCUMENTS, STARTS = 32, 96, 3
TIMEOUT = 120.0  # seconds


def docker(*arguments: str) -> str:
    """Runs a command of the container engine and returns its output. Ends the benchmark with a sentence if it fails."""
    try:
        return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()
    except FileNotFoundError:
        raise SystemExit("There is no command docker.") from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(error.stderr.strip()) from None


def start(image: str) -> tuple[str, str, float]:
    """Name and URL of a started container, and the seconds from `docker run` until /readyz answered."""
    began = time.perf_counter()
    name = docker("run", "--detach", "--publish", "127.0.0.1::3000", *RESTRICTIONS, image)
    url = f"http://{docker('port', name, '3000/tcp').splitlines()[0]}"
    if not wait_for_answer(f"{url}/readyz", timeout=TIMEOUT):
        raise SystemExit(f"{image} was not ready within {TIMEOUT:.0f} s.")
    return name, url, time.perf_counter() - began


def memory(name: str) -> float:
    """MiB that the container uses, without the file cache."""
    used = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", name).split(" / ")[0]
    units = {"KiB": 1 / 1024, "MiB": 1, "GiB": 1024}
    return float(used[:-3]) * units[used[-3:]]


def load(url: str, name: str) -> tuple[float, float]:
    """Summaries a second under load, and the most memory meanwhile in MiB."""
    lines = VALIDATION.read_text(encoding="utf-8").splitlines()[:DOCUMENTS]
    bodies = [json.dumps({"text": json.loads(line)["document"] * 3, "max_new_tokens": 64}).encode() for line in lines]

    def post(body: bytes) -> None:
        request = urllib.request.Request(f"{url}/summarize", body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=TIMEOUT).close()

    began, samples = time.perf_counter(), [0.0]
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = [pool.submit(post, body) for body in bodies]
        while not all(answer.done() for answer in answers):
            samples.append(memory(name))
        for answer in answers:
            answer.result()
    return DOCUMENTS / (time.perf_counter() - began), max(samples)


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
        when_ready = memory(name)
        urllib.request.urlopen(f"{url}/ui/", timeout=TIMEOUT).close()
        with_page = memory(name)
        rate, under_load = load(url, name)
    finally:
        docker("rm", "--force", name)
    result = {
        "image": image,
        "megabytes": round(size),
        "ready_seconds": round(statistics.median(ready), 1),
        "mebibytes": {"ready": round(when_ready), "with_page": round(with_page), "under_load": round(under_load)},
        "summaries_per_second": round(rate, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
