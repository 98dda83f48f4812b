"""Which of a run's bundles a device is served best by."""

from pathlib import Path

FITTING = {"cpu": ("int8", "fp32"), "cuda": ("fp16", "fp32")}  # the best first


def best(run: Path, device: str) -> Path:
    """The folder of the fastest bundle of `run` that `device` takes; that of fp32 where there is no other."""
    for precision in FITTING.get(device, ()):
        folder = run / (f"bundle-{precision}" if precision != "fp32" else "bundle")
        if folder.is_dir():
            return folder
    return run / "bundle"
