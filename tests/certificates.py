"""Certificates of a day: an authority, servers of 127.0.0.1 and clients that it vouches for."""

from pathlib import Path
from typing import NamedTuple

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509 import load_pem_x509_certificate


class PemFiles(NamedTuple):
    """A certificate and its key, PEM."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates; its files lie in a folder.

    Args:
        folder: is made where there is none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()
        folder.mkdir(parents=True, exist_ok=True)
        self.ca_file = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca_file))

    def server(self) -> PemFiles:
        """Of a server on 127.0.0.1."""
        return self._written(self._authority.issue_cert("127.0.0.1"), "server")

    def client(self, name: str) -> PemFiles:
        """Of a client."""
        # Java refuses one that names nothing beside the common name.
        return self._written(self._authority.issue_cert(f"{name}.test", common_name=name), name)

    def server_store(self, password: str) -> Path:
        """Of a server on 127.0.0.1, as Java wants it: PKCS #12."""
        made = self._authority.issue_cert("127.0.0.1")
        key = load_pem_private_key(made.private_key_pem.bytes(), None)
        store = pkcs12.serialize_key_and_certificates(
            b"kafka",
            key,  # type: ignore[arg-type]  # an elliptic curve's
            load_pem_x509_certificate(made.cert_chain_pems[0].bytes()),
            None,
            BestAvailableEncryption(password.encode()),
        )
        path = self._folder / "server.p12"
        path.write_bytes(store)
        return path

    def _written(self, made: trustme.LeafCert, name: str) -> PemFiles:
        files = PemFiles(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        made.cert_chain_pems[0].write_to_path(str(files.certificate))
        made.private_key_pem.write_to_path(str(files.key))
        return files
