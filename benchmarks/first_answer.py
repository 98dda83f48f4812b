"""Seconds from a clean clone to the first answered /summarize by `make run`, and again by a second `make run`.

    python -m benchmarks.first_answer

Takes some minutes on an otherwise idle machine. The last line is JSON.
"""

import argparse
import json
import re
import subprocess
import tempfile
from pathlib import Path

from benchmarks.server import ROOT, Server

BODY = {"text": "The council met on Tuesday. It agreed to mend the old bridge before the winter."}
TIMEOUT = 1800  # seconds


def first_answer(clone: Path, home: Path) -> tuple[float, str]:
    """Runs `make run` in `clone` until it has answered once; the seconds, and its log."""
    with Server(["make", "run"], clone, None, home, port_argument="PORT={port}") as server:
        return server.wait_until_ready(TIMEOUT, "/summarize", BODY), server.log.read_text()


def main() -> None:
    argparse.ArgumentParser(prog="python -m benchmarks.first_answer", description=__doc__.splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clone, home = Path(folder) / "clone", Path(folder) / "home"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        first, log = first_answer(clone, home)
        second, _ = first_answer(clone, home)
    training = int(re.search(r"Trained in (\d+) s", log)[1])
    print(json.dumps({"first": round(first, 1), "training": training, "second": round(second, 1)}))


if __name__ == "__main__":
    main()
