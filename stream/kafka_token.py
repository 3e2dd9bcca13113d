"""Tokens of OAUTHBEARER: read from a file, or had from a token endpoint for client credentials."""

import asyncio
import base64
import json
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

from stream.settings import Settings

SHARE_USED = 0.8
"""Of its life, after which a token is replaced: before the broker finds that it has run out."""
ASSUMED_LIFE_S = 60.0
"""Of a token whose giver does not say."""
MOST_BYTES = 1 << 20


class TokenError(OSError):
    """There is no token; the message says what to do.

    Clients try again after an ``OSError``, as they do where a broker is away.
    """


class TokenSource:
    """Gives the token that is valid now; of any thread.

    Args:
        settings: file, or endpoint with client id and secret.
        clock: seconds that never go back.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._token, self._until = "", float("-inf")

    def token(self) -> str:
        """The token. Raises TokenError where none can be had."""
        if self._settings.kafka_token_file is not None:
            return _token_in(self._settings.kafka_token_file)
        with self._lock:
            if self._clock() >= self._until:
                self._token, life_s = _fetched(self._settings)
                self._until = self._clock() + life_s * SHARE_USED
            return self._token


@lru_cache(maxsize=8)
def _source(settings: Settings) -> TokenSource:
    """One for all clients of a process."""
    return TokenSource(settings)


def aiokafka_token_provider(settings: Settings) -> Any:
    """What aiokafka and Faust ask for a token."""
    from aiokafka.abc import AbstractTokenProvider

    class Provider(AbstractTokenProvider):  # type: ignore[misc]
        async def token(self) -> str:
            return await asyncio.to_thread(_source(settings).token)

    return Provider()


def kafka_python_token_provider(settings: Settings) -> Any:
    """What kafka-python asks for a token."""
    from kafka.net.sasl.oauth import AbstractTokenProvider

    class Provider(AbstractTokenProvider):  # type: ignore[misc]
        def token(self) -> str:
            return _source(settings).token()

    return Provider()


def _token_in(path: Path) -> str:
    try:
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise TokenError(
            f"the token of Kafka cannot be read ({error}); correct `kafka_token_file`"
        ) from None
    if not token or not token.isascii() or not token.isprintable():
        raise TokenError(f"{path} holds no token; whoever renews `kafka_token_file` has to mend it")
    return token


class _NoRedirect(HTTPRedirectHandler):
    """The client secret goes where the settings say, and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _fetched(settings: Settings) -> tuple[str, float]:
    """A new token and its life in seconds."""
    assert settings.kafka_token_url and settings.kafka_username and settings.kafka_password
    # RFC 6749, 2.3.1: both are form-encoded before they are joined.
    secret = settings.kafka_password.get_secret_value()
    login = f"{quote(settings.kafka_username, '')}:{quote(secret, '')}"
    form = {"grant_type": "client_credentials"}
    if settings.kafka_token_scope is not None:
        form["scope"] = settings.kafka_token_scope
    request = Request(
        settings.kafka_token_url,
        urlencode(form).encode(),
        {
            "Authorization": f"Basic {base64.b64encode(login.encode()).decode()}",
            "Accept": "application/json",
        },
    )
    try:
        with build_opener(_NoRedirect).open(request, timeout=settings.kafka_timeout_s) as answer:
            told = json.loads(answer.read(MOST_BYTES))
        return str(told["access_token"]), float(told.get("expires_in", ASSUMED_LIFE_S))
    except HTTPError as error:
        # Not its body, which is the other side's to say and may hold what was sent.
        reason = f"status {error.code}"
        error.close()
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
    raise TokenError(
        f"{settings.kafka_token_url} gives no token ({reason}); correct `kafka_token_url`, "
        "`kafka_username` (client id), `kafka_password` (client secret) and `kafka_token_scope`"
    )
