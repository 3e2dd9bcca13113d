"""The dead-letter record: the original key, value and headers, and what was wrong beside them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

from model.events import ContractError

REASON = "nextclick-reason"
DETAIL = "nextclick-detail"
TOPIC = "nextclick-topic"
PARTITION = "nextclick-partition"
OFFSET = "nextclick-offset"
DEAD_LETTER_HEADERS = {
    REASON: "Short code of the broken rule.",
    DETAIL: "A sentence that says where and what was wrong.",
    TOPIC: "Topic the record came from.",
    PARTITION: "Partition it came from, decimal.",
    OFFSET: "Offset it came from, decimal.",
}
"""Every header that each dead letter has, all UTF-8 text, with what it tells."""
NULL_VALUE = "nextclick-null-value"
SOMETIMES_HEADERS = {
    NULL_VALUE: "`1` where the record had a null value; the dead letter's is empty."
}
"""Headers that some dead letters have. The original record's own headers stand beside them."""
MAX_DETAIL_CHARACTERS = 1_000
"""At most 4 kB of the 64 KiB that the dead-letter topic takes more than the events topic."""

REDRIVEN = "nextclick-redriven"
"""On a record that was sent back to the events topic: the dead letter, TOPIC:PARTITION:OFFSET."""
REDRIVE_NOTE = "nextclick-redrive-note"
"""On a record of the dead-letter topic that is no dead letter: its value lists the offsets of the
same partition that have been sent back."""

Headers = Sequence[tuple[str, bytes]]


class KafkaRecord(Protocol):
    """A record of the dead-letter topic, as aiokafka gives it; its time in epoch milliseconds."""

    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


class Place(NamedTuple):
    """Where a dead letter stands in its topic; as text ``PARTITION:OFFSET``."""

    partition: int
    offset: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """``3:17``. Raises ValueError for anything else."""
        partition, colon, offset = text.partition(":")
        if not (colon and partition.isdecimal() and offset.isdecimal()):
            raise ValueError(f"{text!r} is no place of a dead letter; write PARTITION:OFFSET")
        return cls(int(partition), int(offset))

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"


@dataclass(frozen=True)
class StoredDeadLetter:
    """A dead letter as it stands in its topic."""

    place: Place
    time: int
    """When it was written, epoch milliseconds."""
    reason: str
    detail: str
    topic: str
    """Where the record came from, as are the next two."""
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    """The original one: None where that was null."""
    headers: Headers
    """The original record's own."""


def dead_letter_headers(
    error: ContractError,
    topic: str,
    partition: int,
    offset: int,
    *,
    is_null: bool = False,
    original: Headers = (),
) -> list[tuple[str, bytes]]:
    """The headers of the dead letter for the record at (topic, partition, offset).

    Args:
        error: what was wrong.
        topic: of the record, as partition and offset are.
        partition: decimal in its header.
        offset: likewise.
        is_null: whether the record had a null value.
        original: the record's own headers; they are kept, except where they pose as ours.
    """
    # A detail may quote the record, lone surrogates included.
    detail = str(error)[:MAX_DETAIL_CHARACTERS].encode("utf-8", "replace")
    ours = [
        (REASON, error.reason.encode()),
        (DETAIL, detail),
        (TOPIC, topic.encode()),
        (PARTITION, str(partition).encode()),
        (OFFSET, str(offset).encode()),
    ]
    null = [(NULL_VALUE, b"1")] if is_null else []
    return [*ours, *null, *_foreign(original)]


def read_dead_letter(headers: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    """The headers above as text; other headers are left out."""
    return {name: value.decode() for name, value in headers if name in DEAD_LETTER_HEADERS}


def stored_dead_letter(record: KafkaRecord) -> StoredDeadLetter | None:
    """The dead letter that a record of the dead-letter topic holds; None where it holds none."""
    try:
        told = read_dead_letter(record.headers)
        return StoredDeadLetter(
            place=Place(record.partition, record.offset),
            time=record.timestamp,
            reason=told[REASON],
            detail=told[DETAIL],
            topic=told[TOPIC],
            partition=int(told[PARTITION]),
            offset=int(told[OFFSET]),
            key=record.key,
            value=None if any(name == NULL_VALUE for name, _ in record.headers) else record.value,
            headers=_foreign(record.headers),
        )
    except (KeyError, ValueError, AttributeError):  # a header is missing, no number, or null
        return None


def _foreign(headers: Headers) -> list[tuple[str, bytes]]:
    """Without the headers that tell of a dead letter: a producer's must not be taken for ours."""
    return [
        (name, value)
        for name, value in headers
        if name not in DEAD_LETTER_HEADERS and name not in SOMETIMES_HEADERS
    ]
