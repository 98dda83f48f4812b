"""Memory of this process and its container: the container's limit, and returning what is free to the system."""

import contextlib
import ctypes
import time
from pathlib import Path

LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))  # v2, v1
UNLIMITED = 1 << 60  # version 1 states no limit as a number near 2 ** 63
RETURN_SECONDS = 20.0  # between two times that free memory is returned
WORK_SECONDS = 0.1  # of processor time; who has worked less has freed little


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


async def return_free_memory_regularly() -> None:
    """Calls `return_free_memory` from time to time, if the process has worked meanwhile, until it is cancelled."""
    import asyncio  # only here: the supervisor imports this module, and should be small

    worked = time.process_time()
    while True:
        await asyncio.sleep(RETURN_SECONDS)
        if time.process_time() - worked >= WORK_SECONDS:
            await asyncio.to_thread(return_free_memory)
            worked = time.process_time()
