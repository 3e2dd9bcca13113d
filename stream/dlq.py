"""What stands in the dead-letter topic, read from outside of every group."""

import json
import time
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from heapq import heappush, heappushpop
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.deadletter import (
    REDRIVE_NOTE,
    Place,
    StoredDeadLetter,
    StoredRecord,
    stored_dead_letter,
)
from stream.kafka import TopicError, consumer_arguments
from stream.kafka_login import require_broker
from stream.offsets import OffsetReader
from stream.settings import Settings

PATIENCE_S = 30.0
"""A read without a new record for so long will not come to its end."""

Ranges = dict[TopicPartition, tuple[int, int]]
"""Offsets [first, end) of each partition that holds records."""


class DeadLetterError(TopicError):
    """A dead letter is not there or was not sent back; the message says what to do."""


class Entry(NamedTuple):
    """A dead letter in a list, without what it holds; ordered by time, then place."""

    time: int
    """Epoch milliseconds."""
    place: Place
    reason: str
    source: str
    """TOPIC:PARTITION:OFFSET of the record that broke the contract."""
    size: int
    """Bytes of its value."""
    is_redriven: bool


class Listing(NamedTuple):
    """Dead letters, newest first."""

    entries: list[Entry]
    matching: int
    """Dead letters that match, of which the entries are the newest."""
    others: int
    """Records of the topic that nextclick has not written."""


async def list_dead_letters(
    settings: Settings, *, reason: str | None = None, limit: int = 0
) -> Listing:
    """The newest dead letters, read from the whole topic.

    Args:
        settings: brokers and dead-letter topic.
        reason: only those with it.
        limit: at most so many; 0: all.

    Raises:
        BrokerError: no broker answers.
        TopicError: the topic is missing, or cannot be read to its end.
    """
    newest: list[Entry] = []
    redriven: set[Place] = set()
    matching = others = 0
    async with aclosing(dead_letter_records(settings, await stored_ranges(settings))) as records:
        async for record in records:
            letter = stored_dead_letter(record)
            if letter is None:
                noted = noted_places(record)
                redriven |= noted
                others += not noted
            elif reason in (None, letter.reason):
                matching += 1
                entry = _entry(letter)
                if limit and len(newest) == limit:
                    heappushpop(newest, entry)
                else:
                    heappush(newest, entry)
    newest.sort(reverse=True)
    entries = [each._replace(is_redriven=each.place in redriven) for each in newest]
    return Listing(entries, matching, others)


async def find_dead_letter(settings: Settings, place: Place) -> StoredDeadLetter:
    """The dead letter at a place.

    Raises:
        BrokerError: no broker answers.
        DeadLetterError: there is none at that place.
        TopicError: the topic is missing, or cannot be read.
    """
    at = TopicPartition(settings.dlq_topic, place.partition)
    first, end = (await stored_ranges(settings)).get(at, (0, 0))
    if first <= place.offset < end:
        wanted = {at: (place.offset, place.offset + 1)}
        async with aclosing(dead_letter_records(settings, wanted)) as records:
            async for record in records:
                letter = stored_dead_letter(record)
                if letter is not None and letter.place == place:
                    return letter
    raise not_there(settings, [place])


async def stored_ranges(settings: Settings) -> Ranges:
    """What the dead-letter topic holds now. Raises BrokerError, and TopicError without a topic."""
    require_broker(settings)
    async with OffsetReader(settings) as offsets:
        places = await offsets.partitions(settings.dlq_topic)
        firsts, ends = await offsets.beginnings(places), await offsets.ends(places)
    return {place: (firsts[place], ends[place]) for place in places if firsts[place] < ends[place]}


async def dead_letter_records(
    settings: Settings, ranges: Ranges
) -> AsyncGenerator[StoredRecord, None]:
    """The records of the ranges; in offset order within a partition. Close it (``aclosing``).

    Raises:
        TopicError: nothing comes any more before the end of the ranges.
    """
    if not ranges:
        return
    # What expires while it is read is gone, and no fault.
    arguments = consumer_arguments(settings) | {"auto_offset_reset": "earliest"}
    consumer = AIOKafkaConsumer(**arguments)
    await consumer.start()
    try:
        consumer.assign(list(ranges))
        for place, (first, _) in ranges.items():
            consumer.seek(place, first)
        unread, deadline = set(ranges), time.monotonic() + PATIENCE_S
        while unread:
            for place, records in (await consumer.getmany(*unread, timeout_ms=200)).items():
                deadline = time.monotonic() + PATIENCE_S
                for record in records:
                    if record.offset < ranges[place][1]:
                        yield record
            for place in list(unread):
                if await consumer.position(place) >= ranges[place][1]:
                    unread.discard(place)
            if time.monotonic() > deadline:
                raise TopicError(
                    f"`{settings.dlq_topic}` cannot be read to its end: nothing came for "
                    f"{PATIENCE_S:.0f} s; run `nextclick check`"
                )
    finally:
        await consumer.stop()


def noted_places(record: StoredRecord) -> set[Place]:
    """The places that a note of a redrive names; none where the record is no such note."""
    if not any(name == REDRIVE_NOTE for name, _ in record.headers):
        return set()
    return {Place(record.partition, offset) for offset in json.loads(record.value or b"[]")}


def not_there(settings: Settings, places: Collection[Place]) -> DeadLetterError:
    """The error of places without a dead letter."""
    named = ", ".join(map(str, sorted(places)))
    return DeadLetterError(
        f"`{settings.dlq_topic}` holds no dead letter at {named}; `nextclick dlq list` shows "
        "those there are"
    )


def _entry(letter: StoredDeadLetter) -> Entry:
    return Entry(
        time=letter.time,
        place=letter.place,
        reason=letter.reason,
        source=f"{letter.topic}:{letter.partition}:{letter.offset}",
        size=len(letter.value or b""),
        is_redriven=False,
    )
