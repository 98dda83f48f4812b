"""What this machine lets us use: threads, and how many rows fit."""

import math
import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
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
    try:
        share, period = QUOTA.read_text().split()
        return max(1, min(cores, math.ceil(int(share) / int(period))))
    except (OSError, ValueError):  # no control group, or "max"
        return max(1, cores)
