"""Seconds from a clean clone to the first answered /summarize by `make run`, and again by a second `make run`.

python -m benchmarks.first_answer

Takes some minutes on an otherwise idle machine. The last line is JSON.
"""

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent
BODY = json.dumps({"text": "The council met on Tuesday. It agreed to mend the old bridge before the winter."}).encode()
PATIENCE = 1800  # seconds


def seconds_to_answer(clone: Path) -> float:
    """Runs `make run` in `clone` until it has answered once, then stops it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    request = urllib.request.Request(f"http://127.0.0.1:{port}/summarize", BODY, {"Content-Type": "application/json"})
    with (clone / "make.log").open("a") as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            ["make", "run", f"PORT={port}"], cwd=clone, stdout=log, stderr=log, start_new_session=True
        )
    try:
        while process.poll() is None and time.perf_counter() - began < PATIENCE:
            try:
                with urllib.request.urlopen(request, timeout=30):
                    return time.perf_counter() - began
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        raise SystemExit((clone / "make.log").read_text()[-2000:])
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        first, second = seconds_to_answer(clone), seconds_to_answer(clone)
        training = int(re.search(r"Trained in (\d+) s", (clone / "make.log").read_text()).group(1))
    print(f"clean clone to the first answer: {first:.0f} s, of which training {training} s; again: {second:.1f} s")
    print(json.dumps({"first": round(first, 1), "training": training, "second": round(second, 1)}))


if __name__ == "__main__":
    main()
