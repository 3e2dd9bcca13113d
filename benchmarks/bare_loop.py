"""The contender: a bare aiokafka loop, one message at a time: consume, decode, produce."""

import asyncio
import json
import sys
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from model.events import decode_event, encode_event


async def run(brokers: str, source: str, target: str, places: list[list[int]]) -> None:
    """Read ``source`` from the given offsets and write each event to ``target``."""
    consumer = AIOKafkaConsumer(bootstrap_servers=brokers, enable_auto_commit=False)
    producer = AIOKafkaProducer(bootstrap_servers=brokers, acks="all", enable_idempotence=True)
    await consumer.start()
    await producer.start()
    consumer.assign([TopicPartition(source, partition) for partition, _ in places])
    for partition, offset in places:
        consumer.seek(TopicPartition(source, partition), offset)
    now_ms = time.time_ns() // 1_000_000
    async for message in consumer:
        event = decode_event(message.value, now_ms)
        await producer.send(target, encode_event(event), key=message.key)


if __name__ == "__main__":
    brokers, source, target, places = sys.argv[1:]
    asyncio.run(run(brokers, source, target, json.loads(places)))
