"""Past events straight into profiles and shared counts: the live code, without Kafka and lists."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from zlib import crc32

from model.events import Event
from serving.functions import MOST_ADMISSIONS
from serving.intake import Decoded
from serving.learning import Learned, learn_waves
from serving.parts import Parts
from serving.waves import in_waves

BATCH = 5_000
"""Events merged in one trip. Events of one user that stand together cost one function call."""
SOURCE = "backfill"


PARTITIONS = 64
"""Shared counts take a partition's events in order: the more of them, the more at once."""


@dataclass(frozen=True)
class _PastRecord:
    """Stands where a Kafka record stands in the live path."""

    offset: int
    topic: str = SOURCE
    partition: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()


async def backfill(
    parts: Parts,
    events: Iterable[Event],
    *,
    count: bool,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Merge events into the profiles they belong to. May be repeated: the same bytes come out.

    Args:
        parts: where profiles and counts live.
        events: in event-time order of each user; sorted by user is the fastest.
        count: add what is new to the shared counts too. After a few half lives an event weighs
            nothing there, and its pairs cost the most.
        progress: called with the number of events merged so far.

    Returns:
        How many events were merged.
    """
    merged = 0
    learning: asyncio.Task[dict[str, Learned]] | None = None
    arriving = iter(events)
    while batch := list(islice(arriving, BATCH)):
        decoded = [
            Decoded(_PastRecord(merged + at, partition=_partition_of(event)), event)
            for at, event in enumerate(batch)
        ]
        waves = in_waves(decoded, parts.store.source, MOST_ADMISSIONS if count else len(batch))
        # While Redis merges one batch, the next one is packed.
        if learning is not None:
            await learning
            progress(merged)
        learning = asyncio.create_task(learn_waves(parts, waves, count=count))
        await asyncio.sleep(0)
        merged += len(batch)
    if learning is not None:
        await learning
        progress(merged)
    return merged


def _partition_of(event: Event) -> int:
    return crc32(event.user_id.encode()) % PARTITIONS
