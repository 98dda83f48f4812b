"""Memory of this process and its container: the container's limit, and returning what is free to the system."""

import contextlib
import ctypes
from pathlib import Path

LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))  # v2, v1
UNLIMITED = 1 << 60  # version 1 states no limit as a number near 2 ** 63


def memory_limit() -> int | None:
    """The container's limit in bytes, as its cgroup states it; None where there is none."""
    for path in LIMITS:
        if path.is_file():
            limit = path.read_text().strip()
            return int(limit) if limit.isdecimal() and int(limit) < UNLIMITED else None
    return None


def return_free_memory() -> None:
    """Gives freed memory back to the system, which glibc keeps between what is still used. Takes milliseconds."""
    with contextlib.suppress(AttributeError):  # other C libraries have no such function, and less need of it
        ctypes.CDLL(None).malloc_trim(0)
