"""A worker's parts on real servers that can fail, and what a test asks of them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from serving.parts import Parts
from serving.recommendation import Recommendation, decode_recommendation
from serving.record import Record
from stream.agents import serve
from stream.embedded_redis import EmbeddedRedis
from stream.publisher import Publisher
from stream.readiness import Part, Readiness, part_at_fault, wait_out
from stream.settings import Settings
from stream.worker import build_parts
from tests.faulty_broker import FaultyBroker
from tests.kafka_log import read
from tests.parts import FakeRecord, click, records_of
from tests.shop import ITEMS
from tests.tcp_proxy import TcpProxy
from tests.tiny import tiny_bundle

GUARD_S = 60.0  # seconds until a test that hangs is called hung; no test waits this long to pass
PRESENT = 1_780_000_000_000


@dataclass
class Stage:
    """A worker's parts on a real broker and a real Redis, with a proxy before the latter."""

    settings: Settings
    parts: Parts
    publisher: Publisher
    readiness: Readiness
    broker: FaultyBroker
    redis: EmbeddedRedis
    proxy: TcpProxy

    async def serve(self, records: Sequence[Record]) -> None:
        async with asyncio.timeout(GUARD_S):
            await serve(self.parts, self.publisher, self.readiness, records)

    async def lists(self) -> list[Recommendation]:
        """What stands in the topic; one partition, so in the order written."""
        found = await read(self.broker.bootstrap, self.settings.recommendations_topic)
        return [decode_recommendation(record.value) for record in found[0]]

    async def dead_letters(self) -> list[Any]:
        return (await read(self.broker.bootstrap, self.settings.dlq_topic))[0]


@asynccontextmanager
async def open_stage(
    redis: EmbeddedRedis, bundle: Path, *, redis_timeout_s: float = GUARD_S
) -> AsyncIterator[Stage]:
    """A stage on this Redis, with a fresh broker; the bundle is made where there is none yet."""
    if not bundle.exists():
        tiny_bundle(bundle, [item.item_id for item in ITEMS])
    topics = {"events": 1, "events.dlq": 1, "recommendations": 1, "catalog": 1}
    with (
        FaultyBroker(topics) as broker,
        TcpProxy(int(redis.address.rpartition(":")[2])) as proxy,
    ):
        settings = Settings(
            brokers=broker.bootstrap,
            embedded=True,
            redis_url=f"redis://{proxy.address}/0",
            redis_timeout_s=redis_timeout_s,
            kafka_timeout_s=1,
            bundle=bundle,
            provider="cpu",
        )
        async with _opened(settings, broker=broker, redis=redis, proxy=proxy) as stage:
            yield stage


@asynccontextmanager
async def _opened(settings: Settings, **others: Any) -> AsyncIterator[Stage]:
    parts = build_parts(settings)
    object.__setattr__(parts, "now_ms", lambda: PRESENT)
    for item in ITEMS:
        parts.catalog.put(item)
    stage = Stage(settings, parts, Publisher(settings), Readiness(), **others)
    stage.readiness.open()
    await parts.store.open()
    # As a worker does: where the machine stalls, a broker takes long to answer.
    async with asyncio.timeout(GUARD_S):
        await wait_out(
            stage.readiness, "stage", stage.publisher.start, Part.KAFKA, raises=is_no_wait
        )
    try:
        yield stage
    finally:
        await stage.publisher.stop()
        await parts.store.redis.aclose()


def is_no_wait(error: Exception) -> bool:
    """Whether waiting does not mend it."""
    return part_at_fault(error) is not Part.KAFKA and not isinstance(error, OSError)


def clicks(*users: str, first: int = 0) -> list[FakeRecord]:
    """A click of each user, at offsets from `first` on."""
    return records_of([click(user, "tea-1", PRESENT) for user in users], first=first)


def gauge(name: str, **labels: str) -> float | None:
    """A metric of this process."""
    return REGISTRY.get_sample_value(f"nextclick_{name}", labels)


async def until(condition: Callable[[], object]) -> None:
    """Return once it holds."""
    async with asyncio.timeout(GUARD_S):
        while not condition():
            await asyncio.sleep(0.01)


async def has_waited(part: Part, times: int = 4) -> None:
    """Return after so many more vain tries."""
    before = gauge("retries_total", part=part) or 0
    await until(lambda: (gauge("retries_total", part=part) or 0) >= before + times)


def lines(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    """What was logged with these words in it."""
    return [record.getMessage() for record in caplog.records if words in record.getMessage()]


async def assert_waits_and_goes_on(
    stage: Stage,
    part: Part,
    begin: Callable[[], object],
    end: Callable[[], object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """From `begin` on a micro-batch waits for `part`, tells so, and is served after `end`."""
    caplog.set_level(logging.WARNING, "stream.readiness")
    begin()
    records = clicks("ann", "bob")
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(stage.serve(records))
        await has_waited(part)
        assert not serving.done()
        assert not stage.readiness.is_ready
        assert (gauge("ready"), gauge("waiting", part=part)) == (0, 1)
        # Of this wait alone: where the machine stalls, what comes after it may time out and wait.
        told = lines(caplog, f"waiting for {part}")
        end()
    assert (gauge("ready"), gauge("waiting", part=part)) == (1, 0)
    assert 1 <= len(told) == len(set(told)) <= 3, "one line for each kind of error, not per try"
    assert lines(caplog, f"{part} is back")
    assert list(dict.fromkeys(each.user_id for each in await stage.lists())) == ["ann", "bob"]
    for user in ("ann", "bob"):
        found = await stage.parts.store.last_list(user)
        assert found is not None
        assert (await stage.parts.store.profile(user)).interactions
    assert await stage.dead_letters() == []
