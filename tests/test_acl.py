"""Every verb runs as the user of `nextclick acl`, who may do nothing that nobody needs."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from redis.exceptions import ResponseError

from model.events import Cart, Click, Forget, Identify, Impression, Purchase, Search, User
from serving import counts
from stream.acl import acl_line, commands
from stream.embedded_redis import EmbeddedRedis
from stream.redis_client import UNNAMED
from stream.replay.generations import opened
from stream.replay.status import states_of
from stream.settings import Settings, settings_environment
from tests.acl_user import PASSWORD, READER, USER, done, make_users, refused, watch
from tests.api_client import serving
from tests.command_line import ran
from tests.shop import PATIENCE_S, Shop, running_shop

pytestmark = pytest.mark.either_backend

REFUSED = r"(?i)permission|not allowed|can't run"
"""As Redis 7.0 and Valkey put it."""


@pytest.fixture(scope="module")
def admin(redis_server: EmbeddedRedis) -> Iterator[Redis]:
    with Redis.from_url(redis_server.url) as client:
        yield client


@pytest.fixture
def limited(
    stream_settings: Settings,
    admin: Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Settings:
    """Settings that log in at Redis as such a user, also in the environment."""
    settings = stream_settings.model_copy(
        update={
            "redis_prefix": "shop", "count_shards": 1, "bundle": tmp_path / "bundle",
        }
    )  # fmt: skip
    settings = Settings(
        **settings.model_dump(exclude={"redis_username", "redis_password"}),
        redis_username=USER,
        redis_password=PASSWORD,
    )
    make_users(admin, settings)
    for name, value in settings_environment(settings).items():
        monkeypatch.setenv(name, value)
    return settings


def live_a_life(shop: Shop, name: str) -> None:
    """An event of each kind that moves something in Redis, two users and one that is forgotten."""
    at = time.time_ns() // 1_000_000

    def common(number: int, user: str = "ana") -> dict[str, Any]:
        return {"event_id": f"{name}{user}{number}", "user_id": user, "ts": at}

    search = Search(**common(0), query="green tea")
    shop.send(search)
    found = shop.list_for(search)
    item = found.items[0].item_id
    shop.send(
        Impression(**common(1), rec_id=found.rec_id, item_ids=(item,)),
        Click(**common(2), item_id=item, rec_id=found.rec_id),
        Cart(**common(3), item_id=item),
        Purchase(**common(4), item_id=item),
        User(**common(5), attributes={"age": "30"}),
        Click(**common(0, "visitor"), item_id="tea-1"),
        Identify(**common(6), anonymous_id="visitor"),
        Click(**common(1, "visitor"), item_id="tea-2"),
        Forget(**common(7, "bo")),
    )
    last = Click(**common(8), item_id="phone-1")
    shop.send(last)
    shop.list_for(last)


async def look_at_many() -> None:
    """What `replay status` does where there are more keys than it walks through."""
    async with opened(Settings()) as (parts, generations):
        await states_of(parts.store, generations, looked_at=1)


def test_every_verb_runs_as_that_user_and_needs_all_of_its_rights(
    limited: Settings,
    admin: Redis,
    tmp_path: Path,
    free_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch(admin)
    with running_shop(limited, tmp_path / "shop", workers=1) as shop:
        live_a_life(shop, "first")
        ask_api(limited.model_copy(update={"api_port": free_port}), tmp_path / "api.log")
        assert json.loads(ran("recommend", "ana", "--json"))["items"]
        ran("check")
        ran("replay", "topic", limited.events_topic, "--into", "shadow")
        live_a_life(shop, "second")
        # Sets of counts that are full, as those of a large shop are.
        monkeypatch.setattr(counts, "MAX_POPULAR", 1)
        monkeypatch.setattr(counts, "MAX_NEIGHBOURS", 1)
        ran("replay", "topic", limited.events_topic, "--into", "shadow")
        ran("replay", "compare", status=1)
        ran("replay", "cutover")
        asyncio.run(look_at_many())
        ran("replay", "rollback")
        ran("replay", "drop", "1", "--yes")
        ran("forget", "ana", "--wait")
    assert refused(admin) == []
    assert done(admin) == set(commands(limited))


def ask_api(settings: Settings, log: Path) -> None:
    """Ask for what the API reads in Redis."""
    with serving(settings, log) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        assert client.get("/v1/users/ana/recommendations").status_code == 200
        asked = {"user_id": "ana", "query": "tea"}
        assert client.post("/v1/recommendations", json=asked).status_code == 200
        assert client.get("/v1/items/tea-1/similar").status_code == 200
        assert client.delete("/v1/users/bo").status_code == 202


def test_the_api_runs_as_a_user_who_only_reads(
    limited: Settings, admin: Redis, tmp_path: Path, free_port: int
) -> None:
    with running_shop(limited, tmp_path / "shop", workers=1) as shop:
        live_a_life(shop, "read")
    watch(admin)
    ask_api(
        limited.model_copy(update={"api_port": free_port, "redis_username": READER}),
        tmp_path / "api.log",
    )
    assert refused(admin) == []
    assert done(admin) == set(commands(limited, "api"))


def test_what_is_not_on_the_list_is_refused(limited: Settings, admin: Redis) -> None:
    watch(admin)
    url = limited.redis_url.replace("redis://", f"redis://{USER}:{PASSWORD}@")
    with Redis.from_url(url, **UNNAMED) as client:
        run: Any = client.execute_command
        for words in (
            ["FLUSHALL"],
            ["CONFIG", "GET", "*"],
            ["KEYS", "*"],
            ["ACL", "LIST"],
            ["PUBLISH", "shop:news", "x"],
            ["EVAL", "return redis.call('KEYS', '*')", 0],
            ["EVAL", "return redis.call('GET', KEYS[1])", 1, "another:key"],
        ):
            with pytest.raises(ResponseError, match=REFUSED):
                run(*words)
    assert len(refused(admin)) == 7
    with Redis.from_url(url.replace(f"{USER}:", f"{READER}:"), **UNNAMED) as client:
        run = client.execute_command
        writing = "return redis.call('SET', KEYS[1], 1)"
        for words in (
            ["SET", "shop:x", 1],
            ["EVAL_RO", writing, 1, "shop:x"],
            ["FUNCTION", "FLUSH"],
        ):
            with pytest.raises(ResponseError, match=REFUSED):
                run(*words)


def test_the_verb_prints_the_line_and_no_password(limited: Settings) -> None:
    line = ran("acl", "--user", "recommender").strip()
    assert line == acl_line(limited, "recommender")
    assert line.startswith("user recommender on resetpass resetkeys ~shop:* resetchannels -@all +")
    assert PASSWORD not in line
    assert json.loads(ran("acl", "--json"))["commands"] == commands(limited)
    reading = json.loads(ran("acl", "--role", "api", "--json"))
    assert reading["keys"] == ["%R~shop:*"]
    assert reading["line"] == acl_line(limited, "nextclick", "api")


@pytest.mark.parametrize(
    ("values", "further"),
    [
        ({}, set()),
        ({"redis_url": "redis://127.0.0.1:6379/3"}, {"select"}),
        ({"redis_durability": "replica", "redis_replicas": 1}, {"wait"}),
        ({"redis_durability": "disk"}, {"waitaof"}),
        ({"redis_durability": "disk", "redis_replicas": 1}, {"wait", "waitaof"}),
        ({"redis_url": "redis+cluster://127.0.0.1:6379"}, {"asking", "cluster|slots", "command"}),
    ],
)
def test_settings_that_need_more_have_more(values: dict[str, Any], further: set[str]) -> None:
    assert set(commands(Settings(**values))) == set(commands(Settings())) | further
