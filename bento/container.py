"""The memory limit of the container, as its cgroup states it."""

from pathlib import Path

LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))  # v2, v1
UNLIMITED = 1 << 60  # version 1 states no limit as a number near 2 ** 63


def memory_limit() -> int | None:
    """In bytes; None where there is none."""
    for path in LIMITS:
        if path.is_file():
            limit = path.read_text().strip()
            return int(limit) if limit.isdecimal() and int(limit) < UNLIMITED else None
    return None
