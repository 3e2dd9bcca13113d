"""What a test needs of a topic: write it, read it whole, and see what a group has committed."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition


async def write(bootstrap: str, topic: str, partitions: Mapping[int, Sequence[bytes]]) -> None:
    """Append the values to each partition in the order given, and see them acknowledged."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5)
    await producer.start()
    try:
        sent = [
            await producer.send(topic, value, partition=partition)
            for partition, values in partitions.items()
            for value in values
        ]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def read(bootstrap: str, topic: str) -> dict[int, list[Any]]:
    """The records of each partition of `topic`, from its beginning to where it ends now."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        found: dict[TopicPartition, list[Any]] = {tp: [] for tp in ends}
        while any(len(found[tp]) < ends[tp] for tp in ends):
            for tp, records in (await consumer.getmany(timeout_ms=1000)).items():
                found[tp].extend(record for record in records if record.offset < ends[tp])
        return {tp.partition: records for tp, records in found.items()}
    finally:
        await consumer.stop()


async def ends(bootstrap: str, topic: str) -> dict[int, int]:
    """The end offset of each partition of `topic`."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        offsets = await consumer.end_offsets(consumer.assignment())
        return {tp.partition: offset for tp, offset in offsets.items()}
    finally:
        await consumer.stop()


async def committed(bootstrap: str, group: str, topic: str) -> dict[int, int]:
    """What the group has committed for each partition of `topic`; 0 where it has nothing."""
    partitions = [TopicPartition(topic, partition) for partition in await ends(bootstrap, topic)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign(partitions)
        return {tp.partition: await consumer.committed(tp) or 0 for tp in partitions}
    finally:
        await consumer.stop()


async def commit(bootstrap: str, group: str, topic: str, partition: int, offset: int) -> None:
    """Commit `offset` for a group that has no members."""
    at = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign([at])
        await consumer.commit({at: offset})
    finally:
        await consumer.stop()
