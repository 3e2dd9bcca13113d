"""The batch path while the broker is away, misunderstood, or keeps only some of the records."""

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import (
    CorrelationIdError,
    GroupAuthorizationFailedError,
    NotCoordinatorForGroupError,
    UnknownMemberIdError,
)
from aiokafka.protocol.commit import OffsetFetchRequest, OffsetFetchResponse_v3

from stream.batches import RecordBatch, ack
from tests.apache_kafka import ApacheKafka
from tests.backends import Broker, KafkaBackend
from tests.faulty_broker import COORDINATOR_LOADING, FaultyBroker
from tests.kafka_log import commit, committed, ends, write
from tests.test_batches import Events, Log, batch_of, until, values, working


@pytest.fixture
def topic(broker: Broker, request: pytest.FixtureRequest) -> str:
    """A topic of the test's own, with three partitions; its group has the same name."""
    name = str(request.node.name)[:200].replace("[", "-").replace("]", "")
    broker.create_topics({name: 3})
    return name


class Answered(Log):
    """A log whose `handle` acknowledges at once."""

    async def handle(self, events: Events) -> None:
        for event in events:
            self.add(event)
            ack(event)


@pytest.mark.either_backend
async def test_a_refused_question_is_no_group_that_has_committed_nothing(
    broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fake of a coordinator that is still loading: Kafka then answers for no partition at all."""
    await write(broker.bootstrap, topic, {0: values(100)})
    await commit(broker.bootstrap, topic, topic, 0, 60)
    real = GroupCoordinator._send_req
    refused: list[OffsetFetchRequest] = []

    async def send(self: GroupCoordinator, request: Any) -> Any:
        if isinstance(request, OffsetFetchRequest) and len(refused) < 6:
            refused.append(request)
            return OffsetFetchResponse_v3(0, [], COORDINATOR_LOADING)
        return await real(self, request)

    monkeypatch.setattr(GroupCoordinator, "_send_req", send)
    log = Answered()
    async with working(broker, topic, log.handle):
        await until(lambda: 99 in log.offsets[0])
    assert len(refused) == 6
    assert log.offsets[0] == list(range(60, 100)), "it began where the group had not stopped"
    assert await committed(broker.bootstrap, topic, topic) == {0: 100, 1: 0, 2: 0}


@pytest.mark.either_backend
@pytest.mark.parametrize(
    "error",
    [
        NotCoordinatorForGroupError,
        UnknownMemberIdError,
        GroupAuthorizationFailedError,
        CorrelationIdError,
    ],
)
async def test_a_commit_that_fails_is_made_again_with_newer_offsets(
    broker: Broker, topic: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fake: the commits fail before they are sent."""
    real = GroupCoordinator._do_commit_offsets
    failed: list[Any] = []

    async def fail(self: GroupCoordinator, assignment: Any, offsets: Any) -> None:
        if offsets and len(failed) < 3:
            failed.append(offsets)
            raise error("refused")
        await real(self, assignment, offsets)

    monkeypatch.setattr(GroupCoordinator, "_do_commit_offsets", fail)
    await write(broker.bootstrap, topic, {0: values(50)})
    log = Answered()
    async with working(broker, topic, log.handle, broker_commit_interval=0.1) as app:
        await until(lambda: len(failed) == 3)
        await write(broker.bootstrap, topic, {0: values(50)})
        await until(lambda: 99 in log.offsets[0])
        assert not app.crash_reason
    assert log.offsets[0] == list(range(100))
    assert await committed(broker.bootstrap, topic, topic) == {0: 100, 1: 0, 2: 0}


async def test_a_broker_that_goes_away_and_comes_back_loses_nothing(topic: str) -> None:
    with FaultyBroker({topic: 3}) as broker:
        await write(broker.bootstrap, topic, dict.fromkeys(range(3), values(100)))
        log = Answered()
        async with working(broker, topic, log.handle) as app:  # type: ignore[arg-type]
            await until(lambda: log.holds(dict.fromkeys(range(3), 100)))
            for end in (200, 300):
                broker.down()
                await asyncio.sleep(1)
                broker.up()
                await write(broker.bootstrap, topic, dict.fromkeys(range(3), values(100)))
                await until(partial(log.holds, dict.fromkeys(range(3), end)))
            assert not app.crash_reason
        for offsets in log.offsets.values():
            assert list(dict.fromkeys(offsets)) == list(range(300))
        assert await committed(broker.bootstrap, topic, topic) == dict.fromkeys(range(3), 300)


@pytest.fixture
def compacting(kafka_classpath: Path, tmp_path: Path) -> Iterator[KafkaBackend]:
    """A Kafka that compacts twice a second."""
    properties = {"log.cleaner.backoff.ms": "500", "log.retention.check.interval.ms": "500"}
    with ApacheKafka(kafka_classpath, tmp_path / "kafka", properties=properties) as kafka:
        yield KafkaBackend(kafka)


@pytest.mark.kafka
async def test_offsets_that_compaction_took_are_passed_over(compacting: KafkaBackend) -> None:
    topic = "compacted"
    config = {
        "cleanup.policy": "compact",
        "segment.ms": "100",
        "min.cleanable.dirty.ratio": "0.01",
        "max.compaction.lag.ms": "200",
    }
    compacting.create_topics({topic: 3}, config)
    producer = AIOKafkaProducer(bootstrap_servers=compacting.bootstrap)
    await producer.start()

    async def write_keyed(records: int) -> None:
        for number in range(records):
            key = b"%d" % (number % 7 if number % 100 else number)
            await producer.send(topic, b"%d" % number, key=key, partition=number % 3)
        await producer.flush()

    try:
        kept: dict[int, list[int]] = {}
        async with asyncio.timeout(90):
            for _ in range(3):
                await write_keyed(600)
                await asyncio.sleep(0.3)
            while count(kept := await left(compacting.bootstrap, topic)) > 900:
                await asyncio.sleep(1)
                await write_keyed(3)  # rolls the segment, so that what came before is cleaned
        await write_keyed(300)
    finally:
        await producer.stop()
    last = await ends(compacting.bootstrap, topic)
    assert sum(last.values()) - count(kept) - 300 >= 900, "the test shows nothing without gaps"

    log = Answered()
    sizes: list[RecordBatch] = []

    async def handle(events: Events) -> None:
        sizes.extend(map(batch_of, events))
        await log.handle(events)

    async with working(compacting, topic, handle):
        await until(lambda: all(log.offsets[p][-1:] == [end - 1] for p, end in last.items()))
    for offsets in log.offsets.values():
        assert offsets == sorted(set(offsets))
    for partition, offsets in (await left(compacting.bootstrap, topic)).items():
        assert set(offsets) <= set(log.offsets[partition])
    assert await committed(compacting.bootstrap, topic, topic) == last


def count(offsets: dict[int, list[int]]) -> int:
    return sum(map(len, offsets.values()))


async def left(bootstrap: str, topic: str) -> dict[int, list[int]]:
    """The offsets that can still be read; `read` would wait for those that are gone."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        found: dict[int, list[int]] = {tp.partition: [] for tp in ends}
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                found[tp.partition].extend(record.offset for record in records)
        return found
    finally:
        await consumer.stop()
