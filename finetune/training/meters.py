"""What a stretch of work took: energy, where NVIDIA's driver or the processor counts it, and the most memory."""

import resource
from importlib.util import find_spec
from pathlib import Path

import torch

RAPL = Path("/sys/class/powercap")
CLEAR = Path("/proc/self/clear_refs")


class EnergyMeter:
    """Reads the counters when made; `used()` says in words what went since, or None where nothing is counted."""

    def __init__(self) -> None:
        self.begun = _joules()

    def used(self) -> str | None:
        now = _joules()
        # A counter that has wrapped round says nothing.
        used = {part: now[part] - joules for part, joules in self.begun.items() if now.get(part, 0) > joules}
        if not used:
            return None
        return f"{sum(used.values()) / 3600:.1f} Wh ({', '.join(sorted(used))})"


class MemoryMeter:
    """The most memory in use since it was made: the GPU's where there is one, else the process's."""

    def __init__(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        elif CLEAR.exists():
            CLEAR.write_text("5")  # the kernel forgets the peak so far

    def peak_mib(self) -> int:
        if torch.cuda.is_available():
            return torch.cuda.max_memory_allocated() >> 20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def _joules() -> dict[str, float]:
    found = {}
    for domain in sorted(RAPL.glob("intel-rapl:?")):
        try:
            found[(domain / "name").read_text().strip()] = int((domain / "energy_uj").read_text()) / 1e6
        except (OSError, ValueError):
            continue  # only root may read it on most machines
    if torch.cuda.is_available() and find_spec("pynvml"):
        import pynvml

        try:
            pynvml.nvmlInit()
            handle = pynvml.nvmlDeviceGetHandleByIndex(torch.cuda.current_device())
            found["GPU"] = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3
        except pynvml.NVMLError:
            pass  # a card that does not count
    return found
