"""Chooses the fastest bundle of a run for a device; only this module knows which precision fits which device."""

import json
import os.path
from pathlib import Path

from precis.bundle.names import MANIFEST
from precis.errors import BundleError

# Best first. ONNX Runtime has no fp16 kernels on the CPU (it would convert at every node) and no 8-bit ones on CUDA.
PRECISIONS = {"cpu": ("int8", "fp32"), "cuda": ("fp16", "fp32")}


def bundle_folder(run: Path, precision: str) -> Path:
    """Where the run folder `run` keeps its bundle of the given precision ("fp32", "int8" or "fp16")."""
    return run / ("bundle" if precision == "fp32" else f"bundle-{precision}")


def choose_bundle(folder: Path, device: str) -> Path:
    """`folder` itself if it is a bundle; otherwise the fastest bundle for `device` in that run folder, fp32 if none.

    A folder that may not be read counts as none: opening the bundle reports that.
    """
    if os.path.isfile(folder / MANIFEST):  # Path's own would raise PermissionError
        return folder
    candidates = [bundle_folder(folder, precision) for precision in PRECISIONS.get(device, ())]
    return next((path for path in candidates if os.path.isdir(path)), bundle_folder(folder, "fp32"))


def check_precision(folder: Path, device: str) -> None:
    """Raises BundleError if the bundle's manifest names a precision for another device.

    It reads the manifest only, so it can run before anything is loaded. A manifest that cannot be read passes: opening
    the bundle reports what is wrong with it.
    """
    try:
        precision = json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("precision")
    except (OSError, ValueError, AttributeError):
        return
    fitting = PRECISIONS.get(device)
    if precision and fitting and precision not in fitting:
        raise BundleError(f"{folder} is an {precision} bundle; the device {device} takes {' or '.join(fitting)}.")
