"""JSON Web Tokens, and the key by which a broker knows them."""

import base64
import json
import time
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256


class TokenIssuer:
    """Signs tokens (RS256)."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65_537, 2048)

    @property
    def public_key(self) -> Mapping[str, str]:
        """As a JSON Web Key."""
        numbers = self._key.public_key().public_numbers()
        return {
            "kty": "RSA", "kid": "shop", "use": "sig", "alg": "RS256",
            "n": _encoded(numbers.n.to_bytes(256, "big")), "e": _encoded(b"\x01\x00\x01"),
        }  # fmt: skip

    def token(self, user: str, *, audience: str = "kafka", life_s: int = 3_600) -> str:
        """A token of `user`; one of a negative life has run out."""
        now = int(time.time())
        claims = {"sub": user, "aud": audience, "iat": now - 7_200, "exp": now + life_s}
        head = {"alg": "RS256", "kid": "shop", "typ": "JWT"}
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in (head, claims))
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), SHA256())
        return f"{signed}.{_encoded(signature)}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
