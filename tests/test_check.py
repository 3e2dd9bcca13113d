"""`nextclick check` on servers that are right, and on those that are not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stream.check import Finding, check
from stream.embedded_broker import EmbeddedBroker
from stream.embedded_redis import EmbeddedRedis
from stream.settings import Settings
from tests.tiny import tiny_bundle

TOPICS = ["events", "events.dlq", "recommendations", "catalog"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("check") / "bundle"
    tiny_bundle(path, [f"i{number}" for number in range(30)])
    return path


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(dict.fromkeys(TOPICS, 16)) as running:
        yield running


@pytest.fixture(scope="module")
def redis() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as running:
        yield running


async def findings(broker: EmbeddedBroker, redis_url: str, **values: Any) -> dict[str, Finding]:
    """What is found, by name."""
    settings = Settings(brokers=broker.bootstrap, embedded=True, redis_url=redis_url, **values)
    return {each.name: each for each in await check(settings)}


async def test_all_is_well(broker: EmbeddedBroker, redis: EmbeddedRedis, bundle: Path) -> None:
    found = await findings(
        broker, redis.url, bundle=bundle, provider="cpu", user_hash_secret="a long one"
    )
    assert {each.state for each in found.values()} == {"ok"}
    assert set(found) == {
        "kafka", *(f"topic {name}" for name in TOPICS), "redis", "redis functions", "user ids",
        "text encoder", "bundle", "provider", "nearest items",
    }  # fmt: skip
    assert found["provider"].text == "CPUExecutionProvider in use"


async def test_mappings_are_looked_at(
    broker: EmbeddedBroker, redis: EmbeddedRedis, bundle: Path, tmp_path: Path
) -> None:
    file = tmp_path / "shop.toml"
    file.write_text("[fields]\nuser = 'who'\ntype = 'did'")
    inputs = f"clicks=segment,searches={file},films=movielens-dat-movies"
    found = await findings(broker, redis.url, bundle=bundle, provider="cpu", inputs=inputs)
    assert found["mapping of clicks"] == Finding(
        "mapping of clicks", "ok", "Segment, e-commerce events (version 2)"
    )
    assert found["mapping of searches"].state == "wrong"
    assert "there is no field `user`" in found["mapping of searches"].text
    assert found["mapping of films"].state == "wrong"
    assert found["topic clicks"].state == "wrong", "it is not there"


async def test_user_ids_that_can_be_guessed(
    broker: EmbeddedBroker, redis: EmbeddedRedis, bundle: Path
) -> None:
    found = await findings(broker, redis.url, bundle=bundle, provider="cpu")
    assert {name for name, each in found.items() if each.state != "ok"} == {"user ids"}
    assert found["user ids"].state == "warning"
    assert "NEXTCLICK_USER_HASH_SECRET" in found["user ids"].text


async def test_topics_that_are_missing_or_differ(redis: EmbeddedRedis, bundle: Path) -> None:
    with EmbeddedBroker({"events": 3}) as small:
        found = await findings(small, redis.url, bundle=bundle, provider="cpu")
    assert found["topic events"].state == "warning"
    assert "3 partitions, 16 in the settings" in found["topic events"].text
    assert found["topic catalog"].state == "wrong"
    assert "create it with `nextclick topics`" in found["topic catalog"].text


async def test_a_redis_that_may_evict_profiles(broker: EmbeddedBroker, bundle: Path) -> None:
    options = {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}
    with EmbeddedRedis(options=options) as redis:
        found = await findings(broker, redis.url, bundle=bundle, provider="cpu")
    assert found["redis"].state == "warning"
    assert "maxmemory-policy allkeys-lru" in found["redis"].text


async def test_a_redis_with_another_password(broker: EmbeddedBroker, bundle: Path) -> None:
    with EmbeddedRedis() as redis:
        url = redis.url.replace("redis://", "redis://:wrong@")
        found = await findings(broker, url, bundle=bundle, provider="cpu")
    assert found["redis"].state == "wrong"
    assert "those in `redis_url`" in found["redis"].text
    assert "wrong@" not in found["redis"].text


async def test_a_damaged_bundle(
    broker: EmbeddedBroker, redis: EmbeddedRedis, tmp_path: Path
) -> None:
    tiny_bundle(tmp_path / "bundle", [f"i{number}" for number in range(30)])
    (tmp_path / "bundle" / "items.json").write_text("[]")
    found = await findings(broker, redis.url, bundle=tmp_path / "bundle", provider="cpu")
    assert found["bundle"].state == "wrong"
    assert "provider" not in found


async def test_a_provider_that_is_not_there(
    broker: EmbeddedBroker, redis: EmbeddedRedis, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    found = await findings(broker, redis.url, bundle=bundle, provider="cuda")
    assert found["provider"].state == "wrong"
    assert "--provider cpu" in found["provider"].text


async def test_rules_that_hold_and_rules_at_fault(
    broker: EmbeddedBroker, redis: EmbeddedRedis, bundle: Path, tmp_path: Path
) -> None:
    file = tmp_path / "rules.toml"
    file.write_text('[[hide]]\nitems = ["i1"]\n')
    found = await findings(broker, redis.url, bundle=bundle, provider="cpu", rules=file)
    assert found["rules"] == Finding("rules", "ok", f"1 in {file}")
    file.write_text('[[hide]]\nitmes = ["i1"]\n')
    found = await findings(broker, redis.url, bundle=bundle, provider="cpu", rules=file)
    assert found["rules"].state == "wrong"
    assert "unknown field `itmes`" in found["rules"].text


async def test_a_text_encoder_that_cannot_be_had(
    broker: EmbeddedBroker, redis: EmbeddedRedis, bundle: Path
) -> None:
    found = await findings(broker, redis.url, bundle=bundle, provider="cpu", text_encoder="minlm")
    assert found["text encoder"].state == "wrong"
    assert "neither off, static" in found["text encoder"].text
    found = await findings(broker, redis.url, bundle=bundle, provider="cpu", text_encoder="off")
    assert found["text encoder"].state == "ok"
