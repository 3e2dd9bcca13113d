"""A record as it leaves a consumer, made in a fifth of the time that aiokafka's own takes.

aiokafka's is a frozen dataclass of eleven fields, each of them set by a call; at many thousand
records a second that is the largest part of a fetch.
"""

from aiokafka.consumer import fetcher
from msgspec import Struct


class FetchedRecord(Struct, frozen=True, gc=False):
    """The fields of ``aiokafka.structs.ConsumerRecord``, in their order; none can make a cycle."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    """Epoch milliseconds."""
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    checksum: int | None
    serialized_key_size: int
    """Bytes, -1 where there is no key, and likewise of the value."""
    serialized_value_size: int
    headers: tuple[tuple[str, bytes], ...]


def fetch_records_fast() -> None:
    """Have all of aiokafka's consumers in this process make such records."""
    fetcher.ConsumerRecord = FetchedRecord
