"""What a topic holds between two offsets, learnt into a generation: no lists, nothing published."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from serving.intake import decode
from serving.learning import learn
from serving.parts import Parts
from stream.kafka import consumer_arguments
from stream.settings import Settings

logger = logging.getLogger(__name__)

RECORDS = 2_000
"""Learnt at once: as many as a large micro-batch has."""
WAIT_MS = 1_000


class CaughtUp(NamedTuple):
    """What was learnt."""

    records: int
    ends: dict[TopicPartition, int]
    """Offset of the next record of each partition, all below it learnt."""


async def catch_up(
    settings: Settings,
    parts: Parts,
    since: Mapping[TopicPartition, int],
    until: Mapping[TopicPartition, int],
    moved: Callable[[], None] = lambda: None,
) -> CaughtUp:
    """Learn records that the topic holds. May be repeated.

    Args:
        settings: of the brokers.
        parts: where to (``Parts.for_past``).
        since: first offset, by partition.
        until: end offset of those partitions of which not all is wanted.
        moved: called whenever some have been learnt: it may take long.

    Raises:
        KafkaError: a broker is away; run it again.
        redis.RedisError, serving.store.StoreError: Redis is; run it again.
    """
    learnt = 0
    async with AIOKafkaConsumer(**consumer_arguments(settings)) as consumer:
        ends = await consumer.end_offsets(list(since))
        ends = {place: min(end, until.get(place, end)) for place, end in ends.items()}
        beginnings = await consumer.beginning_offsets(list(since))
        starts = {place: max(first, beginnings[place]) for place, first in since.items()}
        for place, first in since.items():
            if 0 < first < min(starts[place], ends[place]):
                logger.error(
                    "%s, partition %d: the records from offset %d to %d are gone; the generation "
                    "of profiles that is taken up now never sees them",
                    place.topic, place.partition, first, starts[place],
                )  # fmt: skip
        wanted = {place for place in since if starts[place] < ends[place]}
        if not wanted:
            return CaughtUp(0, {place: max(end, since[place]) for place, end in ends.items()})
        consumer.assign(list(wanted))
        for place in wanted:
            consumer.seek(place, starts[place])
        while wanted:
            found = await consumer.getmany(*wanted, timeout_ms=WAIT_MS, max_records=RECORDS)
            records = _below(found, ends)
            decoded, _ = decode(records, parts.now_ms(), parts.mappings, as_stamped=True)
            await learn(parts, decoded)
            learnt += len(records)
            if records:
                moved()
            # By positions: the last offsets may be those of no record.
            positions = {place: await consumer.position(place) for place in wanted}
            wanted = {place for place in wanted if positions[place] < ends[place]}
    return CaughtUp(learnt, {place: max(end, since[place]) for place, end in ends.items()})


def _below(
    found: Mapping[TopicPartition, Sequence[Any]], ends: Mapping[TopicPartition, int]
) -> list[Any]:
    return [
        record
        for place, records in found.items()
        for record in records
        if record.offset < ends[place]
    ]
