"""How many threads this process should use: physical cores, within its container's CPU quota."""

import math
import os
from pathlib import Path

from precis.errors import EngineError

CGROUP_FOLDER = Path("/sys/fs/cgroup")
CORE_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"

MAX_THREADS = 1024  # ONNX Runtime starts any number, and at some ten thousands takes all memory


def check_threads(threads: int | None) -> None:
    """Raises EngineError for a number that is not from 1 to MAX_THREADS; None stands for `default_threads`."""
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise EngineError(f"threads should be from 1 to {MAX_THREADS}, not {threads}.")


def default_threads() -> int:
    """One thread a physical core that this process may use, at most the container's CPU quota rounded up.

    ONNX Runtime's own default counts the host's cores, whatever share of them the container has.
    """
    cores = _physical_cores()
    quota = _cpu_quota()
    return max(1, min(cores, math.ceil(quota))) if quota else max(1, cores)


def _physical_cores() -> int:
    if not hasattr(os, "sched_getaffinity"):  # macOS
        return os.cpu_count() or 1
    processors = os.sched_getaffinity(0)
    try:
        return len({Path(CORE_SIBLINGS.format(number)).read_text() for number in processors})
    except OSError:
        return len(processors)


def _cpu_quota() -> float | None:
    """How many processors' time the container may use, from cgroup version 2 or 1; None if there is no limit."""
    try:
        quota, period = (CGROUP_FOLDER / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = ((CGROUP_FOLDER / f"cpu/cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        except OSError:
            return None
    try:
        return int(quota) / int(period) if int(quota) > 0 else None  # no limit is -1 in version 1, "max" in version 2
    except (ValueError, ZeroDivisionError):
        return None
