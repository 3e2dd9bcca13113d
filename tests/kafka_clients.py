"""The same errand for each of the three Kafka clients: write records, read them in a group."""

import asyncio
import time
from collections.abc import Sequence
from typing import cast

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from confluent_kafka import Consumer, Message, Producer
from kafka import KafkaConsumer, KafkaProducer

Record = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]
"""Key, value and headers."""

PATIENCE_S = 60.0
SESSION_MS = 6_000  # the embedded broker makes a second join wait for a second less


def sample(count: int) -> list[Record]:
    """Records of every shape: keyed and not, empty, in Chinese, with headers, tombstones."""
    shapes: list[Record] = [
        (b"user-1", b'{"type": "click"}', [("source", b"test")]),
        (None, "智能手机".encode(), []),
        (b"gone", None, [("why", b""), ("why", b"twice")]),
        ("ключ".encode(), b"", []),
    ]
    return [shapes[number % len(shapes)] for number in range(count)]


def through_aiokafka(bootstrap: str, topic: str, records: Sequence[Record]) -> list[Record]:
    """Write with an idempotent producer, read as a group and commit."""
    return asyncio.run(_through_aiokafka(bootstrap, topic, records))


async def _through_aiokafka(bootstrap: str, topic: str, records: Sequence[Record]) -> list[Record]:
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True
    ) as producer:
        sent = [
            await producer.send(topic, value, key=key, headers=headers)
            for key, value, headers in records
        ]
        await asyncio.gather(*sent)
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=f"aiokafka-{topic}",
        session_timeout_ms=SESSION_MS,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    found: list[Record] = []
    async with consumer, asyncio.timeout(PATIENCE_S):
        while len(found) < len(records):
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                found += [(each.key, each.value, list(each.headers)) for each in batch]
        await consumer.commit()
    return found


def through_confluent(bootstrap: str, topic: str, records: Sequence[Record]) -> list[Record]:
    """Write with an idempotent producer, read as a group and commit."""
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for key, value, headers in records:
        producer.produce(topic, value, key=key, headers=list(headers))
    assert producer.flush(PATIENCE_S) == 0
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"confluent-kafka-{topic}",
            "session.timeout.ms": SESSION_MS,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    found: list[Record] = []
    deadline = time.monotonic() + PATIENCE_S
    try:
        while len(found) < len(records) and time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is not None:
                assert message.error() is None, message.error()
                found.append((message.key(), message.value(), _headers(message)))
        consumer.commit(asynchronous=False)
    finally:
        consumer.close()
    return found


def _headers(message: Message) -> list[tuple[str, bytes]]:
    return cast("list[tuple[str, bytes]]", message.headers() or [])


def through_kafka_python(bootstrap: str, topic: str, records: Sequence[Record]) -> list[Record]:
    """Write and read as a person would: nothing set but where Kafka is."""
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    sent = [
        producer.send(topic, value, key=key, headers=list(headers))
        for key, value, headers in records
    ]
    for each in sent:
        each.get(PATIENCE_S)
    producer.close()
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=f"kafka-python-{topic}",
        session_timeout_ms=SESSION_MS,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    found: list[Record] = []
    deadline = time.monotonic() + PATIENCE_S
    try:
        # A consumer that joins twice forgets its partitions, for good, where a poll ends just
        # before they come: so each waits as long as we do, and comes back with the first records.
        while len(found) < len(records) and (left := deadline - time.monotonic()) > 0:
            for batch in consumer.poll(int(left * 1_000)).values():
                found += [(each.key, each.value, list(each.headers)) for each in batch]
        consumer.commit()
    finally:
        consumer.close()
    return found


CLIENTS = {
    "aiokafka": through_aiokafka,
    "confluent-kafka": through_confluent,
    "kafka-python": through_kafka_python,
}
