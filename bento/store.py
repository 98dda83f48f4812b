"""`python -m bento.store BUNDLE`: copies a bundle into BentoML's model store, the manifest as labels and metadata."""

import argparse
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import bentoml

from precis.bundle.verify import Bundle, open_bundle
from precis.errors import BundleError

MAX_LABEL = 63  # characters of a label's value, as in Kubernetes


def save(folder: Path, name: str | None = None) -> bentoml.Tag:
    """Copies the bundle into the store and returns its tag; `name` defaults to the manifest's name and precision.

    Raises BundleError.
    """
    bundle = open_bundle(folder)
    tag = _label(name or f"{bundle.manifest.name}-{bundle.manifest.precision}").lower()
    with bentoml.models.create(tag, labels=labels(bundle), metadata=_without_nulls(bundle.manifest.as_json())) as model:
        for path in bundle.folder.iterdir():
            if path.name != "model.yaml":
                shutil.copy(path, model.path_of(path.name))
    return model.tag


def labels(bundle: Bundle) -> dict[str, str]:
    """The labels by which a bundle is found in the store."""
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
    """`text` as a label: other characters than letters, digits and `._-` become dashes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:MAX_LABEL].strip("-._")


def _without_nulls(value: Any) -> Any:
    """The manifest without nulls, which BentoML's metadata cannot hold."""
    if isinstance(value, dict):
        return {str(key): _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value if item is not None]
    return value


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bento.store", description="Copy a bundle into BentoML's model store."
    )
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument("--name", help="name in the store; default: the manifest's name and precision")
    options = parser.parse_args(argv)
    try:
        print(save(options.bundle, options.name))
    except BundleError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
