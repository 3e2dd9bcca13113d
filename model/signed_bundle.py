"""Bundles signed where they were made."""

from pathlib import Path

from model.bundle import BundleError, Manifest, load_bundle, manifest_bytes
from model.signature import SIGNATURE_FILE, SignatureError, sign


def sign_bundle(path: Path, private_key: Path) -> Manifest:
    """Sign a bundle that is whole; an older signature is replaced.

    Args:
        path: its folder.
        private_key: Ed25519, PEM without a password.

    Returns:
        The manifest that was signed.

    Raises:
        BundleError: the bundle must not be served, or the key cannot be used.
    """
    manifest = load_bundle(path).manifest
    try:
        signature = sign(manifest_bytes(path), private_key)
    except SignatureError as error:
        raise BundleError(str(error)) from None
    new = path.with_name(f".{path.name}.{SIGNATURE_FILE}")
    new.write_bytes(signature)
    new.replace(path / SIGNATURE_FILE)
    return manifest
