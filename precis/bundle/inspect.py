"""Verifies a bundle and says in lines for people what was checked and where the bundle comes from."""

import os
from pathlib import Path

from precis.bundle.signature import PUBLIC_KEY
from precis.bundle.verify import open_bundle


def inspect_bundle(folder: Path, public_key: Path | None = None) -> list[str]:
    """What was verified, a line each: files, signature, origin, parity. Raises BundleError for the first failed check.

    The signature is checked by `public_key`, or by the key that PRECIS_PUBLIC_KEY names.
    """
    manifest = open_bundle(folder, public_key).manifest
    parity, key = manifest.parity, public_key or os.environ.get(PUBLIC_KEY)
    parity_line = "no parity was measured"
    if parity:
        parity_line = f"parity {'passed' if parity.passed else 'FAILED'} on {parity.documents} documents"
    return [
        f"all {len(manifest.files)} files have the manifest's SHA-256, and there are no others",
        f"signed by the key of {key}" if key else "signature not checked: no public key was given",
        f"{manifest.name}, {manifest.precision}, made {manifest.created} from {manifest.base_model.name}",
        parity_line,
    ]
