"""python -m bento.store BUNDLE: puts a bundle into BentoML's model store, its manifest as labels and metadata."""

import argparse
import re
import shutil
import sys
from pathlib import Path

import bentoml

from precis.bundle.verify import Bundle, open_bundle
from precis.errors import BundleError

LONGEST = 63  # characters of a label's value, as in Kubernetes


def save(folder: Path, name: str | None = None) -> bentoml.Tag:
    """Copies the bundle into the store, under the manifest's name if none is given. Raises BundleError."""
    bundle = open_bundle(folder)
    tag = _label(name or f"{bundle.manifest.name}-{bundle.manifest.precision}").lower()
    with bentoml.models.create(tag, labels=labels(bundle), metadata=_plain(bundle.manifest.as_json())) as model:
        for path in bundle.folder.iterdir():
            if path.name != "model.yaml":
                shutil.copy(path, model.path_of(path.name))
    return model.tag


def labels(bundle: Bundle) -> dict[str, str]:
    """What a store is searched by."""
    manifest = bundle.manifest
    parity = manifest.parity
    values = {
        "project": "precis",
        "name": manifest.name,
        "precision": manifest.precision,
        "base_model": manifest.base_model.name,
        "git_commit": manifest.git_commit.get("export"),
        "parity": "passed" if parity and parity.passed else "unproved",
    }
    return {key: _label(str(value)) for key, value in values.items() if value}


def _label(text: str) -> str:
    """`text` in the characters that a label may have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:LONGEST].strip("-._")


def _plain(value: object) -> object:
    """The manifest without empty values, which BentoML's metadata cannot hold."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_plain(item) for item in value if item is not None]
    return value


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bento.store", description="Put a bundle into BentoML's store.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--name", help="model's name in the store; without it the manifest's name and precision")
    options = parser.parse_args(argv)
    try:
        print(save(options.bundle, options.name))
    except BundleError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
