"""The machine that is measured: processor or GPU, the software that decides a figure, and the matrix product's peak."""

import os
import platform
import re
import shutil
import statistics
import subprocess
import time
from importlib import metadata
from pathlib import Path

PACKAGES = ("torch", "transformers", "peft", "accelerate", "optimum-onnx", "ctranslate2", "bentoml")


def processor() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def describe(device: str) -> dict[str, object]:
    """Name and slug of the GPU (or processor), the number of cores, and versions of the software."""
    import onnxruntime
    import torch

    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU {platform.machine()}"
    software = {"python": platform.python_version(), "driver": _driver() if device == "cuda" else None}
    software |= {"cuda": torch.version.cuda, "onnxruntime": onnxruntime.__version__}
    software |= {package: _version(package) for package in PACKAGES}
    return {
        "device": name,
        "slug": re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"),
        "cores": len(os.sched_getaffinity(0)),
        "software": {key: value for key, value in software.items() if value},
    }


def git_commit() -> str | None:
    """The short commit of the working tree, with "-dirty" if it differs; None outside git."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _driver() -> str | None:
    if not shutil.which("nvidia-smi"):
        return None
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    versions = subprocess.run(command, capture_output=True, text=True).stdout.split()
    return versions[0] if versions else None


def matrix_peak(device: str, side: int) -> float:
    """Operations a second of a bf16 product of two random square matrices: the median of ten, after three."""
    import torch

    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))

    def product() -> float:
        began = time.perf_counter()
        left @ right
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    for _ in range(3):
        product()
    return 2 * side**3 / statistics.median(product() for _ in range(10))
