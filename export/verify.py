"""Verifies a bundle in words for people, and signs its manifest."""

import os
from pathlib import Path

import onnx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from finetune.errors import UserError
from precis.bundle.names import DECODER, ENCODER, MANIFEST, SIGNATURE
from precis.bundle.signature import PUBLIC_KEY, check_signature
from precis.bundle.verify import open_bundle
from precis.errors import BundleError


def verify(folder: Path, key: Path | None = None) -> list[str]:
    """What was checked and holds, and where the bundle comes from, a line each.

    `key` is a public key in PEM; without it the one that PRECIS_PUBLIC_KEY names. Raises BundleError for the first
    check that fails.
    """
    bundle = open_bundle(folder)
    files = bundle.manifest.files
    lines = [f"all {len(files)} files have the manifest's SHA-256, and there are no others"]
    for name in (ENCODER, DECODER):
        external = _unlisted_external_file(folder / name, set(files))
        if external is not None:
            raise BundleError(f"{folder / name} reads {external!r}, which is not a file of the bundle.")
    lines.append("both graphs read only files of the bundle")
    public_key = key or os.environ.get(PUBLIC_KEY)
    signed = check_signature(folder / MANIFEST, folder / SIGNATURE, public_key)
    lines.append(f"signed by the key of {public_key}" if signed else "signature not checked: no public key was given")
    manifest, parity = bundle.manifest, bundle.manifest.parity
    lines.append(f"{manifest.name}, {manifest.precision}, made {manifest.created} from {manifest.base_model.name}")
    verdict = "passed" if parity and parity.passed else "FAILED"
    lines.append(f"parity {verdict} on {parity.documents} documents" if parity else "no parity was measured")
    return lines


def _unlisted_external_file(graph: Path, files: set[str]) -> str | None:
    """The first external data file of the graph that is not among `files`."""
    for tensor in onnx.load(graph, load_external_data=False).graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
            if location not in files:
                return location
    return None


def sign(folder: Path, key: Path) -> Path:
    """Signs the manifest of a bundle with an Ed25519 private key in PEM; returns the signature's path.

    Raises UserError for a key that cannot be used, BundleError for a bundle that does not verify.
    """
    try:
        private_key = load_pem_private_key(key.read_bytes(), password=None)
    except OSError as error:
        raise UserError(f"The key {key} cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"The key {key} is not an unencrypted private key in PEM form.") from error
    if not isinstance(private_key, Ed25519PrivateKey):
        raise UserError(f"The key {key} is not an Ed25519 key: make one with openssl genpkey -algorithm ed25519.")
    open_bundle(folder)
    signature = folder / SIGNATURE
    # Written outside the folder first: a partial file that a kill left inside would make the bundle invalid.
    partial = folder.with_name(f".{folder.name}.{SIGNATURE}.partial")
    partial.write_bytes(private_key.sign((folder / MANIFEST).read_bytes()))
    partial.replace(signature)
    return signature
