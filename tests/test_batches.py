"""Batches inside Faust, on a real broker: what arrives, what is committed, what comes again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import faust
import pytest
from aiokafka import AIOKafkaProducer
from faust.types import EventT

import stream.batch_consumer
from stream.batch_consumer import BatchConsumer
from stream.batches import (
    RecordBatch,
    ack,
    batch_topic,
    faust_settings,
    micro_batches,
    nack,
)
from tests.backends import Broker
from tests.kafka_log import committed, write

Events = list[EventT[RecordBatch]]
Handler = Callable[[Events], Awaitable[None]]
GUARD = 60.0  # seconds until a test that hangs is called hung; no test waits this long to pass


@pytest.fixture
def topic(broker: Broker, request: pytest.FixtureRequest) -> str:
    """A topic of the test's own, with three partitions; its group has the same name."""
    name = str(request.node.name)[:200]
    broker.create_topics({name: 3})
    return name


def make_app(bootstrap: str, group: str, **changes: Any) -> faust.App:
    # The shortest session that Kafka allows; the embedded broker makes a second member wait for it.
    short = {"broker_session_timeout": 6.0, "broker_heartbeat_interval": 1.0}
    settings = {**faust_settings(), **short, **changes}
    return faust.App(group, broker=f"batch://{bootstrap}", **settings)


@asynccontextmanager
async def working(
    broker: Broker,
    topic: str,
    handle: Handler,
    *,
    max_batch: int = 10,
    most: int = 30,
    **changes: Any,
) -> AsyncIterator[faust.App]:
    """A running app whose agent calls `handle` with each micro-batch of `topic`."""
    app = make_app(broker.bootstrap, topic, **changes)

    async def work(stream: faust.StreamT[RecordBatch]) -> None:
        async for events in micro_batches(stream, most):
            await handle(events)

    app.agent(batch_topic(app, topic, max_batch=max_batch))(work)
    app.finalize()
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(GUARD):
        while not condition():
            await asyncio.sleep(0.01)


def batch_of(event: EventT[RecordBatch]) -> RecordBatch:
    assert isinstance(event.value, RecordBatch)
    return event.value


def first_offset(event: EventT[RecordBatch]) -> int:
    return int(batch_of(event).records[0].offset)


class Log:
    """The offsets a handler has seen, by partition, in the order it saw them."""

    def __init__(self) -> None:
        self.offsets: dict[int, list[int]] = {0: [], 1: [], 2: []}

    def add(self, event: EventT[RecordBatch]) -> None:
        batch = batch_of(event)
        self.offsets[batch.partition].extend(record.offset for record in batch.records)

    def holds(self, lengths: dict[int, int]) -> bool:
        return all(set(self.offsets[p]) >= set(range(length)) for p, length in lengths.items())


def values(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


async def test_nothing_is_fetched_beside_a_handler_that_has_not_asked(
    broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream.batch_consumer, "HELD_S", GUARD)
    going_on, has_begun, log = asyncio.Event(), asyncio.Event(), Log()

    async def handle(events: Events) -> None:
        has_begun.set()
        await going_on.wait()
        for event in events:
            log.add(event)
            ack(event)

    async with working(broker, topic, handle) as app:
        consumer = app.consumer
        assert isinstance(consumer, BatchConsumer)
        await write(broker.bootstrap, topic, {0: values(1)})
        await has_begun.wait()
        fetcher: Any = consumer._thread._ensure_consumer()._fetcher
        await until(lambda: not fetcher._in_flight)
        delivered = consumer._waiting()
        await write(broker.bootstrap, topic, {0: values(1), 1: values(2)})
        assert not fetcher._in_flight
        assert not fetcher._records
        consumer.ask()
        await until(lambda: consumer._waiting() > delivered)
        assert log.offsets == {0: [], 1: [], 2: []}, "the handler is still at work"
        going_on.set()
        await until(lambda: log.holds({0: 2, 1: 2}))


async def test_a_handler_that_asks_for_nothing_gets_more_after_a_while(
    broker: Broker, topic: str
) -> None:
    going_on, has_begun = asyncio.Event(), asyncio.Event()

    async def handle(events: Events) -> None:
        has_begun.set()
        await going_on.wait()
        for event in events:
            ack(event)

    async with working(broker, topic, handle) as app:
        consumer = app.consumer
        assert isinstance(consumer, BatchConsumer)
        await write(broker.bootstrap, topic, {0: values(1)})
        await has_begun.wait()
        delivered = consumer._waiting()
        await write(broker.bootstrap, topic, {1: values(1)})
        await until(lambda: consumer._waiting() > delivered)
        going_on.set()


async def test_records_arrive_as_raw_bytes(broker: Broker, topic: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap)
    await producer.start()
    sent = {"partition": 1, "timestamp_ms": 1_700_000_000_123, "headers": [("h", b"\xff")]}
    await producer.send_and_wait(topic, value=b"{not json \xff", key=b"\x00k", **sent)
    await producer.send_and_wait(topic, value=None, key=b"", partition=1)
    await producer.send_and_wait(topic, value=b"", key=None, partition=1)
    await producer.stop()
    seen: list[RecordBatch] = []

    async def handle(events: Events) -> None:
        seen.extend(map(batch_of, events))
        for event in events:
            assert ack(event)

    async with working(broker, topic, handle):
        await until(lambda: sum(map(len, seen)) == 3)
    first, *others = (record for batch in seen for record in batch.records)
    assert (seen[0].topic, seen[0].partition) == (topic, 1)
    assert (first.key, first.value, first.offset) == (b"\x00k", b"{not json \xff", 0)
    assert (first.headers, first.timestamp) == ((("h", b"\xff"),), 1_700_000_000_123)
    assert [(r.key, r.value, r.offset) for r in others] == [(b"", None, 1), (None, b"", 2)]


async def test_order_holds_and_all_is_committed(broker: Broker, topic: str) -> None:
    await write(broker.bootstrap, topic, {0: values(300), 1: values(200), 2: values(1)})
    log = Log()
    sizes: list[int] = []

    async def handle(events: Events) -> None:
        sizes.append(sum(len(batch_of(event)) for event in events))
        await asyncio.sleep(0)
        for event in events:
            assert len(batch_of(event)) <= 10
            log.add(event)
            assert ack(event)
            assert not ack(event)

    async with working(broker, topic, handle):
        await until(lambda: log.holds({0: 300, 1: 200, 2: 1}))
    assert log.offsets == {0: list(range(300)), 1: list(range(200)), 2: [0]}
    assert max(sizes) == 30  # several partitions' batches share a micro-batch, up to the limit
    assert await committed(broker.bootstrap, topic, topic) == {0: 300, 1: 200, 2: 1}


async def test_a_lone_record_does_not_wait_for_more(broker: Broker, topic: str) -> None:
    log = Log()

    async def handle(events: Events) -> None:
        for event in events:
            log.add(event)
            ack(event)

    async with working(broker, topic, handle):
        for count in range(1, 4):
            await write(broker.bootstrap, topic, {2: [b"alone"]})
            await until(lambda count=count: len(log.offsets[2]) == count)  # type: ignore[misc]


async def test_nack_brings_back_that_partition_only(broker: Broker, topic: str) -> None:
    await write(broker.bootstrap, topic, dict.fromkeys(range(3), values(600)))
    handled = Log()
    refused: list[int] = []
    to_refuse = {20, 30, 70, 250, 590}

    async def handle(events: Events) -> None:
        await asyncio.sleep(0.001)  # time for fetches that the next nack overtakes
        for event in events:
            start = first_offset(event)
            if batch_of(event).partition == 0 and start in to_refuse and refused.count(start) < 2:
                if nack(event):  # False where an earlier batch of this list was given back
                    refused.append(start)
                assert not nack(event)
            elif ack(event):
                handled.add(event)

    async with working(broker, topic, handle, broker_max_poll_records=20):
        await until(lambda: handled.holds(dict.fromkeys(range(3), 600)))
    assert refused == [20, 20, 30, 30, 70, 70, 250, 250, 590, 590]
    # What follows a refused batch in its micro-batch is acknowledged too late to count.
    assert handled.offsets == {partition: list(range(600)) for partition in range(3)}
    assert await committed(broker.bootstrap, topic, topic) == dict.fromkeys(range(3), 600)


async def test_nothing_is_committed_past_a_gap(broker: Broker, topic: str) -> None:
    await write(broker.bootstrap, topic, {0: values(30)})
    waiting: Events = []

    async def handle(events: Events) -> None:
        waiting.extend(events)

    async with working(broker, topic, handle) as app:
        await until(lambda: len(waiting) == 3)
        first, second, third = waiting
        ack(third)
        await app.consumer.commit()
        assert await committed(broker.bootstrap, topic, topic) == {0: 0, 1: 0, 2: 0}
        ack(first)
        await app.consumer.commit()
        assert await committed(broker.bootstrap, topic, topic) == {0: 10, 1: 0, 2: 0}
        ack(second)
        await app.consumer.commit()
        assert await committed(broker.bootstrap, topic, topic) == {0: 30, 1: 0, 2: 0}


async def test_a_handler_that_raises_acknowledges_nothing(broker: Broker, topic: str) -> None:
    await write(broker.bootstrap, topic, {0: values(95), 1: values(100)})
    handled, raised = Log(), False
    committed_then: list[dict[int, int]] = []

    async def handle(events: Events) -> None:
        nonlocal raised
        for event in events:
            if (batch_of(event).partition, first_offset(event)) == (0, 40):
                if not raised:
                    raised = True
                    raise ConnectionError("the store is away")
                await event.app.consumer.commit()
                committed_then.append(await committed(broker.bootstrap, topic, topic))
            handled.add(event)
            assert ack(event)

    async with working(broker, topic, handle):
        await until(lambda: handled.holds({0: 95, 1: 100}))
    assert [offsets[0] for offsets in committed_then] == [40]
    assert handled.offsets == {0: list(range(95)), 1: list(range(100)), 2: []}
    assert await committed(broker.bootstrap, topic, topic) == {0: 95, 1: 100, 2: 0}


async def test_a_batch_that_had_left_the_queue_survives_a_raising_handler(
    broker: Broker, topic: str
) -> None:
    """The failing micro-batch ends a partition; what no longer fitted it begins another one."""
    await write(broker.bootstrap, topic, {0: values(63), 1: values(63), 2: values(63)})
    handled = Log()
    failed: Events = []

    async def handle(events: Events) -> None:
        [event] = events  # two of 7 records do not fit into 10
        if first_offset(event) == 56 and not failed:  # the last seven of a partition
            failed.append(event)
            raise ConnectionError("the store is away")
        handled.add(event)
        ack(event)

    async with working(broker, topic, handle, max_batch=7, most=10):
        await until(lambda: handled.holds({0: 63, 1: 63, 2: 63}))
    assert failed
    assert handled.offsets == {partition: list(range(63)) for partition in range(3)}
    assert await committed(broker.bootstrap, topic, topic) == {0: 63, 1: 63, 2: 63}


async def test_a_cancelled_batch_is_delivered_to_the_next_worker(
    broker: Broker, topic: str
) -> None:
    await write(broker.bootstrap, topic, {0: values(50)})
    seen, done = Log(), Log()

    async def hang(events: Events) -> None:
        for event in events:
            seen.add(event)
            if first_offset(event) == 20:
                await asyncio.Event().wait()
            ack(event)

    async with working(broker, topic, hang) as app:
        await until(lambda: 20 in seen.offsets[0])
        assert isinstance(app.consumer, BatchConsumer)
        app.consumer.drain_seconds = 0.1
    assert await committed(broker.bootstrap, topic, topic) == {0: 20, 1: 0, 2: 0}

    async def handle(events: Events) -> None:
        for event in events:
            done.add(event)
            ack(event)

    async with working(broker, topic, handle):
        await until(lambda: 49 in done.offsets[0])
    assert done.offsets[0] == list(range(20, 50))


async def test_a_wait_that_is_cancelled_loses_nothing(broker: Broker, topic: str) -> None:
    app, log = make_app(broker.bootstrap, topic), Log()
    cancelled: list[asyncio.Future[Events]] = []

    async def work(stream: faust.StreamT[RecordBatch]) -> None:
        while True:
            batches = micro_batches(stream, 30)
            task = asyncio.ensure_future(anext(batches))
            await asyncio.wait([task], timeout=0.0005 * (len(cancelled) % 5))
            if not task.done():
                task.cancel()
                cancelled.append(task)
            with suppress(asyncio.CancelledError):
                for event in await task:
                    log.add(event)
                    ack(event)

    app.agent(batch_topic(app, topic, max_batch=10))(work)
    app.finalize()
    await app.start()
    try:
        for count in range(10):
            await write(broker.bootstrap, topic, {0: values(20), 1: [b"x"] * count})
        await until(lambda: log.holds({0: 200, 1: 45}))
    finally:
        await app.stop()
    assert len(cancelled) > 100
    assert log.offsets == {0: list(range(200)), 1: list(range(45)), 2: []}
    assert await committed(broker.bootstrap, topic, topic) == {0: 200, 1: 45, 2: 0}


async def test_fetching_stops_while_the_handler_is_behind(
    broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.batch_consumer.MAX_WAITING", 40_000)
    await write(broker.bootstrap, topic, {0: values(400), 1: values(400)})
    log = Log()
    waiting: list[int] = []

    async def handle(events: Events) -> None:
        await asyncio.sleep(0.001)
        consumer = events[0].app.consumer
        assert isinstance(consumer, BatchConsumer)
        waiting.append(sum(known.queue.waiting for known in consumer._partitions.values()))
        for event in events:
            log.add(event)
            ack(event)

    async with working(broker, topic, handle, most=10, broker_max_poll_records=20):
        await until(lambda: log.holds({0: 400, 1: 400}))
    assert log.offsets == {0: list(range(400)), 1: list(range(400)), 2: []}
    # Some 40 records of 1,000 bytes; one fetch of 20 may begin just below the limit.
    assert 40_000 <= max(waiting) < 60_200
