"""Micro-batches on their way to a broker: where records go, in which order, in how many batches."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.partitioner import DefaultPartitioner

from stream.batch_producer import BATCH_BYTES, BatchProducer, Message, key_hash
from stream.kafka import producer_arguments
from stream.settings import Settings
from tests.backends import Broker
from tests.faulty_broker import OUT_OF_ORDER_SEQUENCE, PRODUCE, FaultyBroker
from tests.kafka_log import read

pytestmark = pytest.mark.either_backend

PARTITIONS = 3


@pytest.fixture
def topic(broker: Broker, request: pytest.FixtureRequest) -> str:
    name = str(request.node.name)[:200]
    broker.create_topics({name: PARTITIONS})
    return name


@asynccontextmanager
async def producing(bootstrap: str, **changes: Any) -> AsyncIterator[BatchProducer]:
    settings = Settings(**({"brokers": bootstrap, "kafka_timeout_s": 5} | changes))
    producer = BatchProducer(settings)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


def of_users(topic: str, count: int, *, users: int = 20, size: int = 0) -> list[Message]:
    """Records of so many users in turn; a value is its record's number, and ``size`` dots."""
    return [
        (topic, b"%d" % number + b"." * size, b"user-%d" % (number % users), [])
        for number in range(count)
    ]


def numbers(records: list[Any]) -> list[int]:
    return [int(record.value.rstrip(b".")) for record in records]


def together(found: dict[int, list[Any]]) -> list[Any]:
    """The records of all partitions."""
    return [record for records in found.values() for record in records]


def test_a_key_goes_where_all_other_producers_have_it_go() -> None:
    chance = random.Random(7)
    partitioner = DefaultPartitioner()
    for length in range(64):
        key = chance.randbytes(length)
        for partitions in (1, 3, 64):
            expected = partitioner(key, list(range(partitions)), [])
            assert key_hash(key) % partitions == expected


async def test_each_key_stands_in_its_partition_in_the_order_given(
    broker: Broker, topic: str
) -> None:
    messages = of_users(topic, 1000)
    async with producing(broker.bootstrap) as producer:
        await producer.send(messages[:600])
        await producer.send(messages[600:])
    settings = Settings(brokers=broker.bootstrap)
    async with AIOKafkaProducer(**producer_arguments(settings)) as plain:
        places = {
            message[2]: (await plain.send_and_wait(topic, b"", key=message[2])).partition
            for message in messages[:20]
        }
    found = await read(broker.bootstrap, topic)
    for partition, records in found.items():
        own = [number for number, message in enumerate(messages) if places[message[2]] == partition]
        assert numbers([record for record in records if record.value]) == own


async def test_batches_that_are_full_are_followed_by_others(broker: Broker, topic: str) -> None:
    """In the order given, though each is larger than the one before it can take."""
    count = 2 * PARTITIONS * BATCH_BYTES // 100_000
    async with producing(broker.bootstrap) as producer:
        await producer.send(of_users(topic, count, size=100_000))
    found = await read(broker.bootstrap, topic)
    for records in found.values():
        for user in range(20):
            own = numbers([each for each in records if each.key == b"user-%d" % user])
            assert own == sorted(own)
    assert sorted(numbers(together(found))) == list(range(count))


async def test_a_record_larger_than_a_batch_has_one_of_its_own(broker: Broker, topic: str) -> None:
    large = b"." * (BATCH_BYTES + 1000)
    small: Message = (topic, b"0", b"ann", [])
    async with producing(broker.bootstrap) as producer:
        await producer.send([small, (topic, large, b"ann", []), small])
    (records,) = [each for each in (await read(broker.bootstrap, topic)).values() if each]
    assert [record.value for record in records] == [b"0", large, b"0"]


async def test_a_record_that_no_request_may_carry_is_refused(broker: Broker, topic: str) -> None:
    async with producing(broker.bootstrap, events_max_message_bytes=10_000) as producer:
        with pytest.raises(MessageSizeTooLargeError, match=r"has 80\d{3} bytes; at most 75536"):
            await producer.send([(topic, b"." * 80_000, b"ann", [])])
        await producer.send([(topic, b"0", b"ann", [])])
    assert numbers(together(await read(broker.bootstrap, topic))) == [0]


async def test_headers_and_the_lack_of_a_key_are_kept(broker: Broker, topic: str) -> None:
    headers = [("reason", b"null_value"), ("茶", b"\xff")]
    async with producing(broker.bootstrap) as producer:
        await producer.send([(topic, b"1", None, headers), (topic, b"2", None, headers)])
    found = together(await read(broker.bootstrap, topic))
    assert sorted(record.value for record in found) == [b"1", b"2"]
    assert all(record.key is None and list(record.headers) == headers for record in found)


async def test_topics_do_not_mix(broker: Broker, topic: str) -> None:
    other = f"{topic}-other"
    broker.create_topics({other: 1})
    async with producing(broker.bootstrap) as producer:
        await producer.send([*of_users(topic, 50), *of_users(other, 30), *of_users(topic, 10)])
    assert len(together(await read(broker.bootstrap, topic))) == 60
    assert numbers((await read(broker.bootstrap, other))[0]) == list(range(30))


async def test_nothing_is_delivered_at_once(broker: Broker) -> None:
    async with producing(broker.bootstrap) as producer:
        await producer.send([])


async def test_what_is_refused_is_sent_anew_by_another_producer() -> None:
    with FaultyBroker({"lists": 1}) as broker:
        messages = of_users("lists", 10)
        async with producing(broker.bootstrap) as producer:
            broker.refuse(PRODUCE, OUT_OF_ORDER_SEQUENCE, 1)
            with pytest.raises(KafkaError):
                await producer.send(messages)
            await producer.send(messages)
            await producer.send(of_users("lists", 5))
        found = await read(broker.bootstrap, "lists")
    assert numbers(found[0]) == [*range(10), *range(5)]


async def test_what_timed_out_is_waited_for_and_stored_once() -> None:
    with FaultyBroker({"lists": 2}) as broker:
        # Several batches a partition, of which the later ones have not even been given.
        messages = of_users("lists", 30, size=100_000)
        async with producing(broker.bootstrap, kafka_timeout_s=1) as producer:
            await producer.send([("lists", b"", b"ann", [])])  # else it does not know the topic
            broker.down()
            with pytest.raises(TimeoutError, match="30 records are not acknowledged"):
                await producer.send(messages)
            with pytest.raises(TimeoutError):
                await producer.send(messages)
            broker.up()
            async with asyncio.timeout(60):
                while True:
                    try:
                        await producer.send(messages)
                        break
                    except TimeoutError:
                        pass
        found = await read(broker.bootstrap, "lists")
    for records in found.values():
        own = numbers([record for record in records if record.value])
        assert own == sorted(set(own))
    assert len(together(found)) == 1 + len(messages)
