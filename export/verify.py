"""Bundles for people: what verifying one found, and signing its manifest."""

import os
from pathlib import Path

import onnx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from finetune.errors import UserError
from precis.bundle.names import DECODER, ENCODER, MANIFEST, SIGNATURE
from precis.bundle.signature import PUBLIC_KEY, check_signature
from precis.bundle.verify import Bundle, open_bundle
from precis.errors import BundleError


def verify(folder: Path, key: Path | None = None) -> list[str]:
    """What holds of the bundle, a line each. Raises BundleError for the first thing that does not."""
    bundle = open_bundle(folder)
    files = bundle.manifest.files
    lines = [f"{len(files)} files are the manifest's, and there are no others"]
    for name in (ENCODER, DECODER):
        outside = _outside(folder / name, set(files))
        if outside:
            raise BundleError(f"{folder / name} reads {outside!r}, which is not a file of the bundle.")
    lines.append("both graphs read no file outside the bundle")
    key = key or os.environ.get(PUBLIC_KEY)
    signed = check_signature(folder / MANIFEST, folder / SIGNATURE, key)
    lines.append(f"signed by the key of {key}" if signed else "signature not checked: no public key was given")
    return lines + _origin(bundle)


def _outside(graph: Path, files: set[str]) -> str | None:
    """The first external file of the graph that is not among `files`."""
    for tensor in onnx.load(graph, load_external_data=False).graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            place = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
            if place not in files:
                return place
    return None


def _origin(bundle: Bundle) -> list[str]:
    manifest, parity = bundle.manifest, bundle.manifest.parity
    gate = "no parity was measured"
    if parity:
        gate = f"parity {'passed' if parity.passed else 'FAILED'} on {parity.documents} documents"
    return [
        f"{manifest.name}, {manifest.precision}, made {manifest.created} from {manifest.base_model.name}",
        gate,
    ]


def sign(folder: Path, key: Path) -> Path:
    """Signs the manifest of a bundle that verifies, with an Ed25519 private key in PEM; returns the signature's file.

    Raises UserError for a key that cannot be used, BundleError for a bundle that does not verify.
    """
    try:
        private = load_pem_private_key(key.read_bytes(), password=None)
    except OSError as error:
        raise UserError(f"The key {key} cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"The key {key} is not an unencrypted private key in PEM form.") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise UserError(f"The key {key} is not an Ed25519 key: make one by openssl genpkey -algorithm ed25519.")
    open_bundle(folder)
    signature = folder / SIGNATURE
    manifest = (folder / MANIFEST).read_bytes()
    # Beside the folder: a file left in it by a kill would not be the manifest's.
    partial = folder.with_name(f".{folder.name}.{SIGNATURE}.partial")
    partial.write_bytes(private.sign(manifest))
    partial.replace(signature)
    return signature
