"""Which of a run's bundles a device is served best by; the one place that knows what precision fits what device."""

import json
from pathlib import Path

from precis.bundle.names import MANIFEST
from precis.errors import BundleError

# Best first. ONNX Runtime has no fp16 kernels on the CPU (it would convert at every node) and no 8-bit ones on CUDA.
PRECISIONS = {"cpu": ("int8", "fp32"), "cuda": ("fp16", "fp32")}


def bundle_folder(run: Path, precision: str) -> Path:
    """Where a run in `artifacts/` keeps its bundle of the given precision."""
    return run / ("bundle" if precision == "fp32" else f"bundle-{precision}")


def choose_bundle(folder: Path, device: str) -> Path:
    """`folder` itself where it is a bundle; of a run's folder the fastest bundle that `device` takes, fp32 if none."""
    if (folder / MANIFEST).is_file():
        return folder
    candidates = [bundle_folder(folder, precision) for precision in PRECISIONS.get(device, ())]
    return next((path for path in candidates if path.is_dir()), bundle_folder(folder, "fp32"))


def check_precision(folder: Path, device: str) -> None:
    """Raises BundleError where the bundle's manifest says that it is made for another device.

    Cheap, so that it can be asked before anything is loaded; a manifest that cannot be read passes, since opening the
    bundle says what is wrong with it.
    """
    try:
        precision = json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("precision")
    except (OSError, ValueError, AttributeError):
        return
    fitting = PRECISIONS.get(device)
    if precision and fitting and precision not in fitting:
        raise BundleError(f"{folder} is an {precision} bundle; the device {device} takes {' or '.join(fitting)}.")
