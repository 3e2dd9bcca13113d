"""What a replay reads: records of the past, in an order that is the same every time."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol
from zlib import crc32

from msgspec import Struct

from serving.intake import Decoded

PARTITIONS = 64
"""Of what comes from no topic. Shared counts take a partition's events in order: the more of them,
the more at once."""

Position = Mapping[str, int]
"""How far a source has been read: of each of its parts the number of the next record.

A part of a topic is named ``topic:partition`` and numbered by offsets; that of a set of files, of
which there is one, by its digest, and numbered by events in the order in which they are read.
"""


Extent = Mapping[str, tuple[int, int]]
"""Of each part of a source the number of its first record, and of the one behind its last."""


class ReplayError(RuntimeError):
    """A replay cannot go on; the message says what to do."""


class PastRecord(Struct, frozen=True, gc=False):
    """Stands where a Kafka record stands in the live path, for an event that comes from none."""

    topic: str
    partition: int
    offset: int
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class PastBatch(NamedTuple):
    """Events that follow each other."""

    decoded: Sequence[Decoded]
    """In the order of their offsets within each partition."""
    position: Position
    """Of the whole source, once these events are done."""
    newest: int
    """Event time of the newest, epoch milliseconds; 0 where there is none."""


class Learnt(NamedTuple):
    """How much of a source this run has learnt."""

    events: int
    newest: int
    """Event time of the newest, epoch milliseconds; 0 where there is none."""
    position: Position
    """Behind them."""


class Past(Protocol):
    """A source of past events. What breaks the contract it reports, counts and leaves out."""

    def told(self) -> Sequence[str]:
        """What will be read, a line each, for a person."""

    def total(self) -> int | None:
        """How many records there are; None where nobody knows."""

    def extent(self) -> Extent:
        """Where its parts begin and end; those of which nobody knows are left out."""

    def batches(self, done: Position) -> Iterator[PastBatch]:
        """The events behind a position, all of them for an empty one.

        Reading blocks, so that it is done in a thread of its own.

        Raises:
            stream.rows.RowsError, stream.kafka_login.BrokerError, stream.kafka.TopicError: it
                cannot be read; the message says what to do.
        """


def partition_of(key: bytes) -> int:
    """That of a user's events, by the user's id."""
    return crc32(key) % PARTITIONS
