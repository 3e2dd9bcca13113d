"""Tokens of OAUTHBEARER: from a file, and from an endpoint on loopback."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from faust.auth import OAuthCredentials

from stream.kafka import aiokafka_arguments, kafka_python_arguments
from stream.kafka_security import faust_credentials
from stream.kafka_token import TokenError, TokenSource
from stream.settings import Settings, SettingsError

SECRET = "s3cret: &+/ä"
BY_TOKEN = {"kafka_security": "SASL_SSL", "kafka_sasl_mechanism": "OAUTHBEARER"}


class Endpoint(HTTPServer):
    """Answers what a test tells it to, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.body: bytes | None = None
        """None: a token, numbered by the requests so far."""
        self.asked: list[tuple[str | None, dict[str, list[str]]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/token"


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.asked.append((self.headers["Authorization"], parse_qs(form)))
        token = {"access_token": f"token-{len(self.server.asked)}", "expires_in": 100}
        body = json.dumps(token).encode() if self.server.body is None else self.server.body
        self.send_response(self.server.status)
        if self.server.status == 307:
            self.send_header("Location", self.server.url)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def settings_of(endpoint: Endpoint, **more: Any) -> Settings:
    return Settings(
        **BY_TOKEN,
        kafka_token_url=endpoint.url,
        kafka_username="shop",
        kafka_password=SECRET,
        **more,
    )


def test_client_credentials_are_exchanged_for_a_token(endpoint: Endpoint) -> None:
    source = TokenSource(settings_of(endpoint, kafka_token_scope="kafka"))
    assert source.token() == "token-1"
    [(authorization, form)] = endpoint.asked
    assert form == {"grant_type": ["client_credentials"], "scope": ["kafka"]}
    assert authorization is not None
    login = base64.b64decode(authorization.removeprefix("Basic ")).decode()
    assert login == "shop:s3cret%3A%20%26%2B%2F%C3%A4"


def test_a_token_is_kept_for_most_of_its_life(endpoint: Endpoint) -> None:
    now = 1_000.0
    source = TokenSource(settings_of(endpoint), clock=lambda: now)
    assert source.token() == "token-1"
    now += 79
    assert source.token() == "token-1"
    now += 2
    assert source.token() == "token-2"


@pytest.mark.parametrize(
    ("status", "body"),
    [(401, b"{}"), (200, b"<html>"), (200, b"{}"), (200, b"[]"), (307, b"")],
)
def test_an_endpoint_that_gives_none_is_told_without_the_secret(
    endpoint: Endpoint, status: int, body: bytes
) -> None:
    endpoint.status, endpoint.body = status, body
    with pytest.raises(TokenError, match="gives no token") as caught:
        TokenSource(settings_of(endpoint)).token()
    assert "s3cret" not in str(caught.value)
    assert len(endpoint.asked) == 1, "the secret goes nowhere else"


def test_a_file_is_read_at_each_login(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    source = TokenSource(Settings(**BY_TOKEN, kafka_token_file=path))
    assert source.token() == "first"
    path.write_text("second")
    assert source.token() == "second"
    path.write_text("two\nlines")
    with pytest.raises(TokenError, match="holds no token"):
        source.token()
    path.unlink()
    with pytest.raises(TokenError, match="correct `kafka_token_file`"):
        source.token()


async def test_a_token_reaches_all_three_clients(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("token")
    settings = Settings(**BY_TOKEN, kafka_token_file=path)
    theirs = aiokafka_arguments(settings)
    assert theirs["sasl_mechanism"] == "OAUTHBEARER"
    assert await theirs["sasl_oauth_token_provider"].token() == "token"
    assert kafka_python_arguments(settings)["sasl_oauth_token_provider"].token() == "token"
    credentials = faust_credentials(settings)
    assert isinstance(credentials, OAuthCredentials)
    assert await credentials.oauth_cb.token() == "token"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (BY_TOKEN, "needs a token"),
        (BY_TOKEN | {"kafka_token_file": "t", "kafka_token_url": "https://id.test"}, "set one of"),
        (BY_TOKEN | {"kafka_token_file": "t", "kafka_username": "shop"}, "all that logs in"),
        (BY_TOKEN | {"kafka_token_url": "https://id.test"}, "`kafka_username`"),
        (
            BY_TOKEN | {"kafka_token_url": "http://id.test", "kafka_username": "a"}
            | {"kafka_password": "b"},
            "begin with https://",
        ),
        ({"kafka_token_file": "t"}, "nobody logs in by a token"),
        (
            {"kafka_security": "SASL_SSL", "kafka_token_file": "t", "kafka_username": "a"},
            "nobody logs in by a token",
        ),
    ],
)  # fmt: skip
def test_settings_that_do_not_go_together_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Settings(**values)
