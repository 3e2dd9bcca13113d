"""Nothing stops the stream: a part that is away or at fault is waited for."""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import redis as sync_redis

from stream.embedded_redis import EmbeddedRedis
from stream.readiness import Part
from tests import faulty_broker
from tests.stage import Stage, assert_waits_and_goes_on, clicks, gauge, lines, open_stage
from tests.tcp_proxy import TcpProxy

HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("agents") / "bundle"


@pytest.fixture
async def stage(
    redis_server: EmbeddedRedis, redis_url: str, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    monkeypatch.setattr("stream.readiness.LONGEST_WAIT_S", 0.2)
    # Some tests see a trip to Redis time out.
    async with open_stage(redis_server, bundle, redis_timeout_s=0.5) as stage:
        yield stage


async def test_what_works_is_ready_and_waits_for_nothing(stage: Stage) -> None:
    await stage.serve(clicks("ann", "bob"))
    assert stage.readiness.is_ready
    assert (gauge("ready"), gauge("waiting", part="redis")) == (1, 0)
    assert len(await stage.lists()) == 2


async def test_a_list_tells_how_long_after_its_record_it_was_stored(stage: Stage) -> None:
    before = gauge("latency_seconds_sum") or 0.0, gauge("latency_seconds_count") or 0
    records = [replace(each, timestamp=round(time.time() * 1000) - HOUR_MS) for each in
               clicks("ann", "bob")]  # fmt: skip
    await stage.serve(records)
    assert (gauge("latency_seconds_count") or 0) - before[1] == 2
    took = ((gauge("latency_seconds_sum") or 0.0) - before[0]) / 2
    assert took + 0.001 >= HOUR_MS / 1000, "an hour, and what the path took"


NETWORK: dict[str, tuple[Callable[[TcpProxy], object], Callable[[TcpProxy], object]]] = {
    "away": (TcpProxy.refuse, TcpProxy.accept),
    "silent": (TcpProxy.stall, TcpProxy.resume),
    "slow": (lambda proxy: proxy.delay(1.0), lambda proxy: proxy.delay(0)),
}


@pytest.mark.parametrize("fault", NETWORK)
async def test_redis_that_cannot_be_reached_is_waited_for(
    stage: Stage, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    begin, end = NETWORK[fault]
    await assert_waits_and_goes_on(
        stage, Part.REDIS, lambda: begin(stage.proxy), lambda: end(stage.proxy), caplog
    )


async def test_cut_connections_are_made_anew(stage: Stage) -> None:
    await stage.serve(clicks("ann"))
    assert stage.proxy.cut() > 0
    await stage.serve(clicks("bob", first=1))
    assert {each.user_id for each in await stage.lists()} == {"ann", "bob"}


SERVER: dict[str, tuple[list[str], list[str], str]] = {
    "out of memory": (
        ["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"], "more memory",
    ),
    "a replica": (["REPLICAOF", "127.0.0.1", "1"], ["REPLICAOF", "NO", "ONE"], "replica"),
    "too few replicas": (
        ["CONFIG", "SET", "min-replicas-to-write", "1"],
        ["CONFIG", "SET", "min-replicas-to-write", "0"],
        "NOREPLICAS",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", SERVER)
async def test_a_redis_that_refuses_writes_is_waited_for(
    stage: Stage, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    begin, end, advice = SERVER[fault]
    with sync_redis.Redis.from_url(stage.redis.url) as direct:
        await assert_waits_and_goes_on(
            stage,
            Part.REDIS,
            lambda: direct.execute_command(*begin),
            lambda: direct.execute_command(*end),
            caplog,
        )
    assert any(advice in line for line in lines(caplog, "waiting for redis"))


async def test_a_changed_password_is_told_with_what_to_do(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    with sync_redis.Redis.from_url(stage.redis.url) as direct:

        def lock() -> None:
            direct.config_set("requirepass", "sesame")
            stage.proxy.cut()  # who is connected stays welcome

        await assert_waits_and_goes_on(
            stage, Part.REDIS, lock, lambda: direct.config_set("requirepass", ""), caplog
        )
    assert any("redis_password" in line for line in lines(caplog, "waiting for redis"))


async def test_a_redis_that_has_lost_everything_gets_its_functions_again(stage: Stage) -> None:
    with sync_redis.Redis.from_url(stage.redis.url) as direct:
        direct.flushall()
        direct.function_flush()
    await stage.serve(clicks("ann"))
    assert len(await stage.lists()) == 1


async def test_a_broker_that_is_away_is_waited_for_and_nothing_is_sent_twice(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    await assert_waits_and_goes_on(stage, Part.KAFKA, stage.broker.down, stage.broker.up, caplog)
    assert len(await stage.lists()) == 2


async def test_a_leader_that_has_moved_is_found(stage: Stage) -> None:
    stage.broker.refuse(faulty_broker.PRODUCE, faulty_broker.NOT_LEADER, 3)
    await stage.serve(clicks("ann", "bob"))
    assert len(await stage.lists()) == 2


@pytest.mark.parametrize("error", ["STORAGE_ERROR", "NOT_ENOUGH_REPLICAS", "OUT_OF_ORDER_SEQUENCE"])
async def test_a_broker_that_refuses_to_store_is_asked_again(stage: Stage, error: str) -> None:
    """A fake: the embedded broker is told to answer so."""
    stage.broker.refuse(faulty_broker.PRODUCE, getattr(faulty_broker, error), 3)
    await stage.serve(clicks("ann", "bob"))
    assert {each.user_id for each in await stage.lists()} == {"ann", "bob"}
    assert stage.readiness.is_ready
