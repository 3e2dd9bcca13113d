"""Items -> the compacted ``catalog`` topic, keyed by item, read back to be sure."""

import asyncio
import time
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from model.items import Item, encode_item
from stream.kafka import TopicError, consumer_arguments, producer_arguments
from stream.kafka_login import require_broker
from stream.offsets import OffsetReader
from stream.settings import Settings

IN_FLIGHT = 4_096
"""Records between two looks at their acknowledgements: an error shows within .2 s."""
LINGER_MS = 5
PATIENCE_S = 30.0
"""A read-back without a new record for so long has lost what it waits for."""


class IngestReport(NamedTuple):
    """What an ingest did. ``items`` counts distinct ids, all of them found in the topic again."""

    rows: int
    items: int
    seconds: float
    dropped: int
    """Older records of the topic that the broker gave up meanwhile; 0 on Apache Kafka."""


async def ingest(
    settings: Settings,
    items: Iterable[Item],
    *,
    progress: Callable[[int], None] = lambda written: None,
) -> IngestReport:
    """Write items to the catalogue topic and return once each has been read back.

    An item that comes twice is written twice; the later one stays.

    Raises:
        BrokerError: no broker answers.
        TopicError: the topic is missing, or has not kept what was written.
    """
    require_broker(settings)
    started = time.monotonic()
    async with OffsetReader(settings) as offsets:
        places = await offsets.partitions(settings.catalog_topic)
        beginnings, starts = await offsets.beginnings(places), await offsets.ends(places)
        rows, digests = await _write(settings, items, progress)
        kept, ends = await offsets.beginnings(places), await offsets.ends(places)
    dropped = sum(max(kept[place] - beginnings[place], 0) for place in places)
    missing = await _read_back(settings, digests, _ranges(starts, kept, ends)) if rows else 0
    if missing:
        raise TopicError(
            f"{missing:,} of {len(digests):,} items cannot be read back from "
            f"`{settings.catalog_topic}`: the broker has dropped them; create the topic with more "
            "partitions (the embedded broker keeps about 5 MB of each) or with compaction "
            "(`nextclick topics`)"
        )
    return IngestReport(rows, len(digests), time.monotonic() - started, dropped)


async def _write(
    settings: Settings, items: Iterable[Item], progress: Callable[[int], None]
) -> tuple[int, dict[bytes, bytes]]:
    """Send all; returns their number and, by key, the digest of the last value."""
    digests: dict[bytes, bytes] = {}
    sent: list[asyncio.Future[object]] = []
    rows = 0
    async with AIOKafkaProducer(**producer_arguments(settings), linger_ms=LINGER_MS) as producer:
        for item in items:
            key, value = item.item_id.encode(), encode_item(item)
            sent.append(await producer.send(settings.catalog_topic, key=key, value=value))
            digests[key] = _digest(value)
            rows += 1
            if len(sent) >= IN_FLIGHT:
                await asyncio.gather(*sent)
                sent.clear()
                progress(rows)
        await asyncio.gather(*sent)
        progress(rows)
    return rows, digests


def _digest(value: bytes) -> bytes:
    return blake2b(value, digest_size=8).digest()


def _ranges(
    starts: dict[TopicPartition, int],
    kept: dict[TopicPartition, int],
    ends: dict[TopicPartition, int],
) -> dict[TopicPartition, tuple[int, int]]:
    """Offsets [first, end) of what was written, as far as the broker has kept it."""
    first = {place: max(start, kept[place]) for place, start in starts.items()}
    return {place: (first[place], end) for place, end in ends.items() if first[place] < end}


async def _read_back(
    settings: Settings,
    digests: dict[bytes, bytes],
    ranges: dict[TopicPartition, tuple[int, int]],
) -> int:
    """How many of the written values are not in the topic."""
    missing = set(digests)
    consumer = AIOKafkaConsumer(**consumer_arguments(settings))
    await consumer.start()
    try:
        consumer.assign(list(ranges))
        for place, (first, _) in ranges.items():
            consumer.seek(place, first)
        open_places, deadline = set(ranges), time.monotonic() + PATIENCE_S
        while open_places and missing and time.monotonic() < deadline:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                deadline = time.monotonic() + PATIENCE_S
                for record in records:
                    if digests.get(record.key) == _digest(record.value or b""):
                        missing.discard(record.key)
            for place in list(open_places):
                if await consumer.position(place) >= ranges[place][1]:
                    open_places.discard(place)
    finally:
        await consumer.stop()
    return len(missing)
