"""Signatures of bundles (Ed25519): made by who holds a private key, and not changed since.

What is signed is the manifest, byte for byte, in which the SHA-256 of every other file stands. The
signature is what ``openssl pkeyutl -sign -rawin`` makes, too.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

SIGNATURE_FILE = "manifest.sig"
SIGNATURE_BYTES = 64


class SignatureError(RuntimeError):
    """A key cannot be used, or a signature is missing or wrong; the message says what to do."""


def sign(manifest: bytes, key_file: Path) -> bytes:
    """The signature of a manifest by a private key, PEM without a password.

    Raises:
        SignatureError: the file holds no such key.
    """
    return _private_key(key_file).sign(manifest)


def verify(manifest: bytes, signature: bytes | None, key_file: Path) -> None:
    """Return where the signature is that of the manifest by the private key to this public one.

    Args:
        manifest: as it stands in the bundle.
        signature: of the bundle; None where there is none.
        key_file: public key, PEM.

    Raises:
        SignatureError: it is not.
    """
    try:
        from cryptography.exceptions import InvalidSignature
    except ModuleNotFoundError:
        raise SignatureError(
            "cannot be checked, for the package cryptography is not installed; run: pip install "
            "'nextclick[signed]'"
        ) from None

    key = _public_key(key_file)
    if signature is None:
        raise SignatureError(
            f"is not signed ({SIGNATURE_FILE} is not there), and only signed ones are served; sign "
            "it where it was made (nextclick sign-bundle), or unset NEXTCLICK_BUNDLE_PUBLIC_KEY"
        )
    try:
        key.verify(signature, manifest)
    except InvalidSignature:
        raise SignatureError(
            f"is not what was signed, or is signed by another key than that of {key_file}; copy "
            "the whole folder again, or sign it where it was made (nextclick sign-bundle)"
        ) from None


def read_signature(bundle: Path) -> bytes | None:
    """The signature of a bundle; None where there is none."""
    try:
        with (bundle / SIGNATURE_FILE).open("rb") as file:
            return file.read(SIGNATURE_BYTES + 1)
    except FileNotFoundError:
        return None


def _public_key(file: Path) -> "Ed25519PublicKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = _read(file, load_pem_public_key)
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(file, "public", "openssl pkey -in signing.pem -pubout -out public.pem")
    return key


def _private_key(file: Path) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = _read(file, lambda data: load_pem_private_key(data, None))
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(file, "private", "openssl genpkey -algorithm ed25519 -out signing.pem")
    return key


def _read(file: Path, read: Callable[[bytes], object]) -> object | None:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return read(file.read_bytes())
    except OSError as error:
        raise SignatureError(f"the key {file} cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _no_key(file: Path, kind: str, how: str) -> SignatureError:
    return SignatureError(
        f"{file} holds no {kind} key (Ed25519, PEM, without a password); make one with `{how}`"
    )
