"""Part engine: summaries a second of our engine and its peers on the card, in turns, and under mixed load.

Random weights of t5-small's shape, greedy; every system reads the same texts and writes as many tokens. The median of
several turns counts, after two turns that do not.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.engine import System
from benchmarks.gpu import models
from benchmarks.gpu.sizes import Sizes
from benchmarks.gpu.systems import MIXED_LIMIT, ON_CARD, ON_PROCESSOR

PAUSE = 0.2  # seconds between two turns


def measure(sizes: Sizes, device: str, scratch: Path, keep: Callable) -> None:
    """Rates by system and batch; a system that cannot start, or fails, is told and left out."""
    for precision in models.precisions(device):
        for limit in (512, MIXED_LIMIT):
            models.bundle(scratch, sizes, precision, device, limit)
    found: dict = {"source_tokens": sizes.source, "new_tokens": sizes.new, "rounds": sizes.rounds}
    found |= {"rates": {}, "mixed": {}, "failed": {}}
    for names in ON_CARD if device == "cuda" else ON_PROCESSOR:
        started = [
            System(name, [sys.executable, "-m", "benchmarks.gpu.systems", name, str(scratch), device]) for name in names
        ]
        _measured(started, sizes, found, keep)
        for system in started:
            system.close()


def _measured(started: list[System], sizes: Sizes, found: dict, keep: Callable) -> None:
    """The systems in turns."""
    systems = []
    for system in started:
        if _answer(system, found):
            systems.append(system)
            print(system.name, "is ready", flush=True)
        keep(found)
    for batch in sizes.batches:
        times: dict[str, list[float]] = {}
        for _ in range(sizes.rounds):
            for system in list(systems):
                time.sleep(PAUSE)
                answer = _answer(system, found, "batch", batch)
                if answer and not answer["as_asked"]:
                    found["failed"][system.name] = f"wrote another number of tokens at batch {batch}"
                    answer = None
                if answer is None:
                    systems.remove(system)
                    continue
                seconds = times.setdefault(system.name, [])
                seconds.append(answer["seconds"])
                found["rates"].setdefault(system.name, {})[str(batch)] = round(batch / statistics.median(seconds), 1)
            keep(found)
        print(batch, {system.name: found["rates"][system.name][str(batch)] for system in systems}, flush=True)
    for system in list(systems):
        if answer := _answer(system, found, "mixed"):
            found["mixed"][system.name] = answer
        keep(found)


def _answer(system: System, found: dict, *command) -> dict | None:
    """None where the system has failed, which is then told."""
    try:
        answer = system.ask(*command)
    except (SystemExit, OSError) as error:
        answer = {"failed": str(error)}
    if "failed" in answer:
        found["failed"][system.name] = answer["failed"]
        print(system.name, "failed:", answer["failed"], flush=True)
        return None
    return answer
