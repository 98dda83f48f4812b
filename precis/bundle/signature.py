"""Checks the detached Ed25519 signature (RFC 8032) of a bundle's manifest if a public key is configured."""

import os
from pathlib import Path

from precis.errors import BundleError

PUBLIC_KEY = "PRECIS_PUBLIC_KEY"  # the environment variable with the path of a public key in PEM


def check_signature(manifest: Path, signature: Path, key: str | Path | None = None) -> bool:
    """Whether `manifest` is signed by the public key in PEM `key`, by default the one that PRECIS_PUBLIC_KEY names.

    False if no key is configured. Raises BundleError if one is and cannot be read, or did not make the signature.
    """
    key = key or os.environ.get(PUBLIC_KEY)
    if not key:
        return False
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError as error:
        raise BundleError(f"A public key is configured ({key}), and the package cryptography is missing.") from error
    try:
        public = load_pem_public_key(Path(key).read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError(f"The public key {key} cannot be read: {_reason(error)}.") from error
    if not isinstance(public, Ed25519PublicKey):
        raise BundleError(f"The public key {key} is not an Ed25519 key.")
    if not signature.is_file():
        raise BundleError(f"{manifest.parent} is not signed, and the public key {key} asks for {signature.name}.")
    try:
        public.verify(signature.read_bytes(), manifest.read_bytes())
    except InvalidSignature as error:
        raise BundleError(f"{signature} is not a signature of this manifest by the public key {key}.") from error
    return True


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or "it is not in PEM form"
