"""The random model of t5-small's shape and its bundles, which the parts share; none is made twice."""

import json
import shutil
from pathlib import Path

from benchmarks.gpu.sizes import Sizes

LIMIT = 512  # tokens


def model(scratch: Path, sizes: Sizes) -> Path:
    """The model's folder, in Hugging Face's form."""
    from benchmarks import shapes

    folder = scratch / "model"
    if not (folder / "tokenizer.json").exists():
        shapes.write_model(folder, **sizes.shape)
    return folder


def bundle(scratch: Path, sizes: Sizes, precision: str, device: str, limit: int = LIMIT) -> Path:
    """A bundle for the device that reads up to `limit` tokens, without the proofs of a run's. A CPU gets fp32 alone."""
    from benchmarks import shapes
    from precis.bundle.names import MANIFEST

    folder = scratch / f"{precision}-{limit}"
    if not (folder / MANIFEST).exists():
        shutil.rmtree(folder, ignore_errors=True)
        if limit != LIMIT:
            shutil.copytree(bundle(scratch, sizes, precision, device), folder)
            manifest = json.loads((folder / MANIFEST).read_text())
            (folder / MANIFEST).write_text(json.dumps({**manifest, "max_input_tokens": limit}))
        elif device == "cuda":
            shapes.write_gpu_bundle(model(scratch, sizes), folder, precision, limit)
        else:
            shapes.write_bundle(model(scratch, sizes), folder, limit=limit)
    return folder


def precisions(device: str) -> tuple[str, ...]:
    """Of our bundles on the device."""
    return ("fp16", "fp32") if device == "cuda" else ("fp32",)
