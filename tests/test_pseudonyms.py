"""With pseudonyms neither Redis nor logs nor metrics hold a user id, and nothing else changes."""

import asyncio
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from pydantic import SecretStr
from redis import Redis
from typer.testing import CliRunner

from model.events import Click, Event, Identify, Impression, Purchase, Search, User
from serving.generations import live_parts
from stream import cli
from stream.embedded_redis import EmbeddedRedis, free_port
from stream.replay.generations import opened
from stream.settings import Settings, SettingsError, settings_environment
from stream.worker import build_store
from tests.api_client import serving
from tests.shop import PATIENCE_S, Shop, running_shop

pytestmark = pytest.mark.either_backend

USERS = ("anastasia-77", "用户-四十二", 'qu"o\\te-9')
VISITORS = tuple(f"visitor-3133{number}" for number in range(len(USERS)))
SECRET = "0123456789abcdef-secret"


@pytest.fixture(scope="module")
def settings(stream_settings: Settings) -> Settings:
    values = stream_settings.model_dump() | {
        "pseudonymise": True,
        "user_hash_secret": SECRET,
        "log_level": "DEBUG",
        "metrics_port": free_port(),
        "api_port": free_port(),
    }
    return Settings(**values)


@pytest.fixture(scope="module")
def shop(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """It has lived through events of every kind."""
    with running_shop(settings, tmp_path_factory.mktemp("shop"), workers=1) as running_one:
        live(running_one)
        yield running_one


def live(shop: Shop) -> None:
    """Event ids hold no user id: the shop chooses them."""
    number = iter(range(1_000))

    def common(user: str) -> dict[str, Any]:
        return {
            "event_id": f"e{next(number)}", "user_id": user, "ts": time.time_ns() // 1_000_000
        }  # fmt: skip

    for user, visitor in zip(USERS, VISITORS, strict=True):
        search = Search(**common(user), query="green tea")
        shop.send(search)
        found = shop.list_for(search)
        assert found.user_id == user, "who reads the topic knows whose list it is"
        item = found.items[0].item_id
        shop.send(
            User(**common(user), attributes={"age": "30"}),
            Impression(**common(user), rec_id=found.rec_id, item_ids=(item,)),
            Click(**common(user), item_id=item, rec_id=found.rec_id),
            Purchase(**common(user), item_id=item),
            Identify(**common(user), anonymous_id=visitor),
            Click(**common(visitor), item_id="tea-1"),
        )
    shop.send_bytes(b'{"user_id": "anastasia-77"}', b"anastasia-77")
    last: Event = Click(**common(USERS[0]), item_id="phone-1")
    shop.send(last)
    shop.list_for(last)
    shop.wait_for(lambda: shop.dead_letters or None, "the dead letter")


def named_in(data: bytes) -> list[str]:
    """The user ids that stand in there, as text or as JSON."""
    forms = {
        user: {user.encode(), json.dumps(user).encode()[1:-1], user.encode("unicode_escape")}
        for user in (*USERS, *VISITORS)
    }
    return [user for user, written in forms.items() if any(each in data for each in written)]


def everything_in(server: EmbeddedRedis) -> bytes:
    """Every key with all of its value."""
    found = []
    with Redis.from_url(server.url) as client:
        for key in client.scan_iter("*", 1_000):
            reader: Any = {
                b"string": client.get,
                b"hash": client.hgetall,
                b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
            }[client.type(key)]
            held = reader(key)
            found += [key, *_words(held)]
    return b"\n".join(found)


def _words(held: Any) -> list[bytes]:
    match held:
        case bytes():
            return [held]
        case dict():
            return [word for pair in held.items() for word in pair]
        case _:
            return [member for member, _ in held]


def test_neither_redis_nor_log_nor_metrics_hold_a_user_id(
    shop: Shop, settings: Settings, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    stored = everything_in(redis_server)
    assert b"tea" in stored and b"rec_id" in stored, "it was looked into"
    assert named_in(stored) == []
    api_log = tmp_path / "api.log"
    with serving(settings, api_log) as url, httpx.Client(timeout=PATIENCE_S) as client:
        for user in USERS:
            answer = client.get(f"{url}/v1/users/{quote(user, safe='')}/recommendations")
            assert answer.json()["user_id"] == user, "who asks gets what he asked for"
            made = client.post(f"{url}/v1/recommendations", json={"user_id": user})
            assert made.json()["user_id"] == user
        metrics = client.get(f"{url}/metrics").content
        metrics += client.get(f"http://127.0.0.1:{settings.metrics_port}/metrics").content
    assert b"nextclick_events_total" in metrics
    assert named_in(metrics) == []
    for log in (shop.workers[0].log, api_log):
        text = log.read_bytes()
        assert b"DEBUG" in text
        assert named_in(text) == []


def test_a_replay_gives_the_same_bytes_and_a_user_is_forgotten(
    shop: Shop,
    settings: Settings,
    redis_server: EmbeddedRedis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in settings_environment(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NEXTCLICK_LOG_LEVEL", "INFO")

    def ran(*arguments: str, status: int = 0) -> Any:
        run = CliRunner().invoke(cli.app, [*arguments, "--json"])
        assert run.exit_code == status, run.output + repr(run.exception)
        return json.loads(run.stdout)

    ran("replay", "topic", settings.events_topic, "--into", "shadow", status=1)  # the bad one
    compared = ran("replay", "compare")
    assert compared["profiles_equal"] == len(USERS) + len(VISITORS)
    assert ran("replay", "compare", "--user", USERS[1])["difference"] is None
    ran("forget", USERS[0], "--wait")

    async def forgotten() -> bool:
        store = build_store(settings)
        try:
            await store.open()
            return await store.last_list(USERS[0]) is None
        finally:
            await store.redis.aclose()

    assert asyncio.run(forgotten())
    assert named_in(everything_in(redis_server)) == []


def test_a_new_key_is_taken_into_use_while_the_stream_goes_on(
    shop: Shop, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/security.md says: built beside, made live, then the workers are started anew."""
    monkeypatch.chdir(tmp_path)
    anew = settings.model_copy(
        update={
            "user_hash_secret": SecretStr("another-secret-0123456789"),
            "redis_prefix": "anew", "log_level": "INFO",
        }
    )  # fmt: skip
    for name, value in settings_environment(anew).items():
        monkeypatch.setenv(name, value)
    build = ["replay", "topic", settings.events_topic, "--into", "shadow"]
    for words in (build, ["replay", "cutover"]):
        run = CliRunner().invoke(cli.app, words)
        assert run.exit_code in (0, 1), run.output
    meanwhile = Click(
        event_id="while", user_id=USERS[2], ts=time.time_ns() // 1_000_000, item_id="book-1"
    )
    shop.send(meanwhile)
    shop.list_for(meanwhile)
    for worker in shop.workers:
        worker.stop()
    shop.workers.clear()
    shop.settings = anew
    shop.start_workers(1)
    last = Click(event_id="last", user_id=USERS[2], ts=meanwhile.time + 1, item_id="book-2")
    shop.send(last)
    shop.list_for(last)

    async def profiles(of: Settings) -> list[Any]:
        async with opened(of) as (parts, _):
            store = (await live_parts(parts)).store
            return [(await store.profile(user)) for user in USERS[1:]]

    before, after = asyncio.run(profiles(settings)), asyncio.run(profiles(anew))
    assert before[0] == after[0], "the same profile under another name"
    assert len(after[1].interactions) > len(before[1].interactions)
    assert after[1].merge(before[1]) == after[1], "what came meanwhile is in it too"


async def test_the_name_of_a_user_is_that_in_the_keys_and_documented(settings: Settings) -> None:
    store = build_store(settings)
    key = blake2b(SECRET.encode()).digest()
    digest = blake2b(b"ana", digest_size=16, key=key).digest()
    name = urlsafe_b64encode(digest).decode().rstrip("=")
    assert store.name_of("ana") == name
    assert store.keys("ana").profile == f"nc:{{{name}}}:profile"
    await store.redis.aclose()


@pytest.mark.parametrize("secret", [None, "short"])
def test_pseudonyms_without_a_secret_are_refused(secret: str | None) -> None:
    with pytest.raises(SettingsError, match="needs a `user_hash_secret`"):
        Settings(pseudonymise=True, user_hash_secret=secret)
