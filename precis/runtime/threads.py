"""What this machine lets us use: threads, and how many rows fit."""

import math
import os
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
CORES = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def default_threads() -> int:
    """One a physical core that this process may run on, at most its container's quota of processor time.

    ONNX Runtime's own default counts the host's cores, whatever share of them a container has been given.
    """
    allowed = os.sched_getaffinity(0)
    try:
        cores = len({Path(CORES.format(number)).read_text() for number in allowed})
    except OSError:
        cores = len(allowed)
    quota = _quota()
    return max(1, min(cores, math.ceil(quota))) if quota else max(1, cores)


def _quota() -> float | None:
    """How many processors' time the container may use, by control groups of version 2 or 1; None without a bound."""
    try:
        share, period = (GROUPS / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            share, period = ((GROUPS / f"cpu/cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        except OSError:
            return None
    try:
        return int(share) / int(period) if int(share) > 0 else None  # version 1 says -1 for none, version 2 "max"
    except (ValueError, ZeroDivisionError):
        return None
