"""Builds a container image: stages a run's bundles, labels the image with the model's origin, calls docker."""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from precis.bundle.choose import check_precision, choose_bundle
from precis.bundle.manifest import Manifest
from precis.bundle.verify import open_bundle
from precis.errors import BundleError

ROOT = Path(__file__).parent.parent
STAGE = ROOT / "artifacts/image"


def stage(bundle: Path) -> None:
    """Puts the bundle into artifacts/image/bundle, and the base model's bundle for the page's comparison beside it."""
    shutil.rmtree(STAGE, ignore_errors=True)
    shutil.copytree(bundle, STAGE / "bundle", copy_function=_link)
    base = bundle.parent / "bundle-base-int8"
    if base.is_dir():
        shutil.copytree(base, STAGE / base.name, copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # on another file system
        shutil.copy2(source, target)


def labels(manifest: Manifest, device: str) -> Iterator[tuple[str, str]]:
    """OCI labels that say which model an image contains; values that the manifest lacks are left out."""
    base, data, parity = manifest.base_model, manifest.data, manifest.parity
    scores = manifest.rouge.finetuned if manifest.rouge else None
    image, digest = base_image((ROOT / "Dockerfile").read_text())
    values = {
        "org.opencontainers.image.title": "precis",
        "org.opencontainers.image.description": "Summaries by a fine-tuned T5 on ONNX Runtime, over HTTP and on a page",
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.base.name": f"docker.io/library/{image}",
        "org.opencontainers.image.base.digest": digest,
        "org.opencontainers.image.revision": _commit(),
        "precis.device": device,
        "precis.model.name": manifest.name,
        "precis.model.created": manifest.created,
        "precis.model.precision": manifest.precision,
        "precis.model.commit": manifest.git_commit.get("export"),
        "precis.model.base": base.name,
        "precis.model.base.revision": base.revision,
        "precis.model.base.sha256": base.sha256,
        "precis.model.data": data.name or data.train,
        "precis.model.data.revision": data.revision,
        "precis.model.data.sha256": data.train_sha256,
        "precis.model.rougeL": scores.rougeL if scores else None,
        "precis.model.parity.identical": parity.identical_summaries if parity else None,
        "precis.model.parity.documents": parity.documents if parity else None,
    }
    yield from ((key, str(value)) for key, value in values.items() if value is not None)


def base_image(dockerfile: str) -> tuple[str, str | None]:
    """Name and tag of the image that the stage `base` of a Dockerfile starts from, and its digest if it has one."""
    image, _, digest = re.findall(r"^FROM (\S+) AS base$", dockerfile, re.M)[0].partition("@")
    return image, digest or None


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
        check_precision(bundle, options.device)
        manifest = open_bundle(bundle).manifest
    except BundleError as error:
        print(error, file=sys.stderr)
        return 1
    if not shutil.which("docker"):
        print("There is no command docker, which builds the image.", file=sys.stderr)
        return 1
    stage(bundle)
    command = ["docker", "build", "--tag", options.tag, "--build-arg", f"DEVICE={options.device}"]
    for key, value in labels(manifest, options.device):
        command += ["--label", f"{key}={value}"]
    print(f"{options.tag}: {bundle} for {options.device}")
    return subprocess.run([*command, str(ROOT)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
