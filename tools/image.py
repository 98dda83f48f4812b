"""Builds a container image: stages a run's bundles, labels the image with where the model comes from, calls docker."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from precis.bundle.choose import choose_bundle

ROOT = Path(__file__).parent.parent
STAGE = ROOT / "artifacts/image"


def stage(bundle: Path) -> None:
    """Links the bundle into artifacts/image/bundle, and the base's beside it, which the page compares with."""
    shutil.rmtree(STAGE, ignore_errors=True)
    shutil.copytree(bundle, STAGE / "bundle", copy_function=os.link)
    base = bundle.parent / "bundle-base-int8"
    if base.is_dir():
        shutil.copytree(base, STAGE / base.name, copy_function=os.link)


def labels(manifest: dict[str, Any], device: str) -> Iterator[tuple[str, str]]:
    """OCI labels from a bundle's manifest; what it does not know is left out."""
    base, data = manifest.get("base_model", {}), manifest.get("data", {})
    versions = {
        "org.opencontainers.image.title": "precis",
        "org.opencontainers.image.description": "Summaries by a fine-tuned T5 on ONNX Runtime, over HTTP and on a page",
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.base.name": "docker.io/library/python:3.11-slim-bookworm",
        "org.opencontainers.image.revision": _commit(),
        "precis.device": device,
        "precis.model.name": manifest.get("name"),
        "precis.model.created": manifest.get("created"),
        "precis.model.precision": manifest.get("precision"),
        "precis.model.commit": manifest.get("git_commit", {}).get("export"),
        "precis.model.base": base.get("name"),
        "precis.model.base.revision": base.get("revision"),
        "precis.model.base.sha256": base.get("sha256"),
        "precis.model.data": data.get("name") or data.get("train"),
        "precis.model.data.revision": data.get("revision"),
        "precis.model.data.sha256": data.get("train_sha256"),
        "precis.model.rougeL": manifest.get("rouge", {}).get("finetuned", {}).get("rougeL"),
        "precis.model.parity.identical": manifest.get("parity", {}).get("identical_summaries"),
        "precis.model.parity.documents": manifest.get("parity", {}).get("documents"),
    }
    yield from ((key, str(value)) for key, value in versions.items() if value is not None)


def _commit() -> str | None:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.image", description=__doc__)
    parser.add_argument("run", type=Path, help="a folder that holds bundle/, such as artifacts/embedded")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--tag", default="precis:latest")
    options = parser.parse_args()
    bundle = choose_bundle(options.run, options.device)
    try:
        manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    except OSError as error:
        print(f"{bundle} is no bundle: {error.strerror}.", file=sys.stderr)
        return 1
    stage(bundle)
    command = ["docker", "build", "--tag", options.tag, "--build-arg", f"DEVICE={options.device}"]
    for key, value in labels(manifest, options.device):
        command += ["--label", f"{key}={value}"]
    print(f"{options.tag}: {bundle} for {options.device}")
    return subprocess.run([*command, str(ROOT)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
