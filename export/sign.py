"""Signs the manifest of a bundle."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from finetune.errors import UserError
from precis.bundle.names import MANIFEST, SIGNATURE
from precis.bundle.verify import open_bundle


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
