"""Contenders without a framework: consume, decode, produce, one message at a time.

    python -m benchmarks.bare_loop aiokafka|confluent

Settings come from the environment. Every partition is read from its beginning, without a group and
without commits, and nobody waits for a delivery: less than any worker has to do.
"""

import argparse
import asyncio
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as Place

from benchmarks.pace import Progress, tell_progress
from model.events import decode_event, encode_event
from stream.kafka import consumer_arguments, producer_arguments
from stream.settings import Settings

MESSAGES = 1_000
"""Of one call to confluent's consumer."""
LINGER_MS = 5


async def aiokafka_loop(settings: Settings, progress: Progress) -> None:
    """aiokafka, as its documentation has it: ``async for``."""
    consumer = AIOKafkaConsumer(**consumer_arguments(settings))
    producer = AIOKafkaProducer(**producer_arguments(settings))
    await consumer.start()
    await producer.start()
    places = [TopicPartition(settings.events_topic, at) for at in range(settings.partitions)]
    consumer.assign(places)
    await consumer.seek_to_beginning()
    now_ms = time.time_ns() // 1_000_000
    async for message in consumer:
        event = decode_event(message.value, now_ms)
        await producer.send(settings.recommendations_topic, encode_event(event), key=message.key)
        progress.done += 1


def confluent_loop(settings: Settings, progress: Progress) -> None:
    """confluent-kafka: librdkafka does all but the loop."""
    consumer = Consumer(
        {
            "bootstrap.servers": settings.brokers,
            "group.id": "bare",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": consumer_arguments(settings)["fetch_max_wait_ms"],
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": settings.brokers,
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": LINGER_MS,
        }
    )
    consumer.assign([Place(settings.events_topic, at, 0) for at in range(settings.partitions)])
    now_ms = time.time_ns() // 1_000_000
    given = 0
    while True:
        for message in consumer.consume(MESSAGES, timeout=0.5):
            if (error := message.error()) is not None:
                raise RuntimeError(error.str())
            event = encode_event(decode_event(message.value(), now_ms))
            while not _produced(producer, settings.recommendations_topic, event, message.key()):
                producer.poll(0.01)
            given += 1
        producer.poll(0)
        # What still waits in the producer's queue is not done.
        progress.done = max(given - len(producer), 0)


def _produced(producer: Producer, topic: str, value: bytes, key: bytes | None) -> bool:
    """False while the producer's queue is full."""
    try:
        producer.produce(topic, value, key)
    except BufferError:
        return False
    return True


def main() -> None:
    """Run until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("aiokafka", "confluent"))
    asked = parser.parse_args()
    settings, progress = Settings(), Progress()
    tell_progress(progress)
    if asked.kind == "aiokafka":
        asyncio.run(aiokafka_loop(settings, progress))
    else:
        confluent_loop(settings, progress)


if __name__ == "__main__":
    main()
