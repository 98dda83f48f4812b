"""Measures the peak memory of a stretch of work."""

import resource
from pathlib import Path

import torch

CLEAR_REFS = Path("/proc/self/clear_refs")


class MemoryMeter:
    """The peak memory since the meter was made: the GPU's if there is one, else the process's."""

    def __init__(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        elif CLEAR_REFS.exists():
            CLEAR_REFS.write_text("5")  # resets the kernel's record of the peak (Linux)

    def peak_mib(self) -> int:
        """The peak so far in MiB."""
        if torch.cuda.is_available():
            return torch.cuda.max_memory_allocated() >> 20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
