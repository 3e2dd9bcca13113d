"""Past events straight into profiles and shared counts: the live code, without Kafka and lists."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from model.events import Event
from serving.intake import Decoded, learn, profile_changes
from serving.parts import Parts

BATCH = 5_000
"""Events merged in one trip: some 200 per user of a small shop cost one function call."""
SOURCE = "backfill"


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
    count_from_ms: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Merge events into the profiles they belong to. May be repeated: the same bytes come out.

    Args:
        parts: where profiles and counts live.
        events: in event-time order.
        count_from_ms: earlier events enter profiles but no shared counts; after a few half lives
            they would weigh nothing and cost the most.
        progress: called with the number of events merged so far.

    Returns:
        How many events were merged.
    """
    merged = 0
    arriving = iter(events)
    while batch := list(islice(arriving, BATCH)):
        decoded = [Decoded(_PastRecord(merged + at), event) for at, event in enumerate(batch)]
        counted = batch[-1].time >= count_from_ms
        await learn(parts, profile_changes(decoded), count=counted)
        merged += len(batch)
        progress(merged)
    return merged
