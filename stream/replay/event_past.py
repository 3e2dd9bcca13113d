"""Events that are in memory, or come out of an iterator, as a source of the past."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from zlib import crc32

from model.events import Event
from serving.intake import Decoded
from stream.replay.past import PastBatch, Position

BATCH = 5_000
PARTITIONS = 64


@dataclass(frozen=True, slots=True)
class PastRecord:
    """Stands where a Kafka record stands in the live path."""

    offset: int
    topic: str
    partition: int
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()


class EventPast:
    """Events in the order given.

    Args:
        events: in event-time order of each user; the same ones whenever it is iterated over.
        name: tells them from other events.
        total: how many there are, where that is known.
    """

    def __init__(self, events: Iterable[Event], name: str, *, total: int | None = None) -> None:
        self._events = events
        self._name = name
        self._total = total

    def told(self) -> Sequence[str]:
        """What will be read."""
        return [f"events `{self._name}`"]

    def total(self) -> int | None:
        """How many events there are; None where nobody knows."""
        return self._total

    def batches(self, done: Position) -> Iterator[PastBatch]:
        """The events behind a position."""
        part, topic = f"events:{self._name}", f"events-{self._name}"
        at = done.get(part, 0)
        arriving = islice(self._events, at, None)
        while batch := list(islice(arriving, BATCH)):
            decoded = [
                Decoded(PastRecord(offset, topic, partition_of(event)), event)
                for offset, event in enumerate(batch, at)
            ]
            at += len(batch)
            yield PastBatch(decoded, {part: at}, max(event.time for event in batch))


def partition_of(event: Event) -> int:
    """In which of ``PARTITIONS`` an event is, by its user."""
    return crc32(event.user_id.encode()) % PARTITIONS
