"""The dead-letter record: the original key, value and headers, and what was wrong beside them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

from model.events import ContractError
from serving.record import Record

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
TRUNCATED = "nextclick-truncated"
SOMETIMES_HEADERS = {
    NULL_VALUE: "`1` where the record's value was null; a dead letter's is empty.",
    TRUNCATED: "Bytes of the record, decimal, where the dead-letter topic could not take all.",
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


class StoredRecord(Record, Protocol):
    """With the time at which it was written, epoch milliseconds."""

    @property
    def timestamp(self) -> int: ...


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


class DeadLetterMessage(NamedTuple):
    """What is written to the dead-letter topic."""

    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]


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
    is_truncated: bool
    """Whether key, value and headers are less than the original's."""


def dead_letter_message(error: ContractError, record: Record, most_bytes: int) -> DeadLetterMessage:
    """The dead letter of a record.

    A record that was compressed on its way can be larger than any topic takes when it is not. Of
    one with more than ``most_bytes`` of key, value and headers the dead letter holds the the
    value's beginning, the key unless that is large itself, and no headers of the record; ours tell
    where the whole one stands.
    """
    # A null value would be a tombstone in a compacted dead-letter topic.
    value = record.value or b""
    size = len(value) + len(record.key or b"")
    size += sum(len(name.encode()) + len(told or b"") + 10 for name, told in record.headers)
    fits = size <= most_bytes
    headers = dead_letter_headers(
        error,
        record.topic,
        record.partition,
        record.offset,
        is_null=record.value is None,
        original=record.headers if fits else (),
    )
    if fits:
        return DeadLetterMessage(record.key, value, headers)
    headers.append((TRUNCATED, str(size).encode()))
    key = record.key if len(record.key or b"") <= most_bytes // 4 else None
    return DeadLetterMessage(key, value[: most_bytes // 2], headers)


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


def stored_dead_letter(record: StoredRecord) -> StoredDeadLetter | None:
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
            is_truncated=any(name == TRUNCATED for name, _ in record.headers),
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
