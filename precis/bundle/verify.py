"""Opens a bundle after checking that its files are, byte for byte, those of its manifest."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from precis.bundle.manifest import Manifest, parse_manifest, sha256
from precis.bundle.names import MANIFEST, REQUIRED_FILES, SIGNATURE, UNLISTED_FILES
from precis.bundle.signature import check_signature
from precis.errors import BundleError


@dataclass(frozen=True)
class Bundle:
    """A verified bundle: its folder and the parsed JSON files."""

    folder: Path
    manifest: Manifest
    config: dict[str, Any]
    generation_config: dict[str, Any]


def open_bundle(folder: str | Path, public_key: Path | None = None) -> Bundle:
    """The bundle in `folder`, if that holds the manifest's files and no others.

    The manifest's signature is checked if `public_key` or PRECIS_PUBLIC_KEY names a key. Raises BundleError.
    """
    try:
        return _open_bundle(Path(folder), public_key)
    except OSError as error:
        raise BundleError(f"{error.filename} cannot be read: {error.strerror}.") from error


def _open_bundle(folder: Path, public_key: Path | None) -> Bundle:
    if not folder.is_dir():
        raise BundleError(f"There is no bundle folder {folder}.")
    manifest = parse_manifest(_read_json(folder / MANIFEST), folder / MANIFEST)
    files = manifest.files
    for name in REQUIRED_FILES:
        if name not in files:
            raise BundleError(f"{folder / MANIFEST} does not list {name}.")
    check_signature(folder / MANIFEST, folder / SIGNATURE, public_key)
    unknown = sorted(
        path.name for path in folder.iterdir() if path.name not in files and path.name not in UNLISTED_FILES
    )
    if unknown:
        raise BundleError(f"{folder / unknown[0]} does not belong to the bundle: the manifest does not list it.")
    for name, expected in files.items():
        path = folder / name
        if Path(name).name != name or path.resolve().parent != folder.resolve():
            raise BundleError(f"{folder / MANIFEST} lists {name!r}, which is outside the bundle.")
        if not path.is_file():
            raise BundleError(f"{path} is missing from the bundle.")
        if sha256(path) != expected:
            raise BundleError(f"{path} is not the file the manifest describes: its SHA-256 differs.")
    return Bundle(folder, manifest, _read_json(folder / "config.json"), _read_json(folder / "generation_config.json"))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not valid JSON.") from error
    if not isinstance(value, dict):
        raise BundleError(f"{path} does not hold a JSON object.")
    return value


def _finite(number: str) -> float:
    """The number; raises ValueError for NaN and infinity, which Python would read and no JSON can hold."""
    if not math.isfinite(value := float(number)):
        raise ValueError(number)
    return value
