"""A fetch of kafka-python, read by aiokafka's compiled reader: a tenth of the processor time.

kafka-python fetches well, and parses and sums up each record byte by byte in Python: 28 µs for one
of 200 bytes with its event, where 2 µs are enough. Records here are `FetchedRecord`, lighter than
its own.
"""

from collections.abc import Callable
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import CorruptRecordError
from kafka.record import MemoryRecords

from stream.fetched_record import FetchedRecord
from stream.header_names import TolerantRecords


def read_in_bulk(consumer: KafkaConsumer) -> None:
    """Have a consumer without deserializers parse what it fetches that way.

    As for all of ours, aborted transactions are records like others (``read_uncommitted``).
    """
    consumer._fetcher.PartitionRecords = BulkRecords


class BulkRecords:
    """The records of one partition out of one fetch; stands in ``kafka.consumer.fetcher.Fetcher``.

    What the fetcher asks of such an object: its truth (anything left?), `take`, `drain`, and the
    attributes without an underscore.
    """

    def __init__(
        self,
        fetch_offset: int,
        tp: TopicPartition,
        records: MemoryRecords,
        *,
        on_drain: Callable[[Any], None],
        **_: Any,
    ) -> None:
        self.topic_partition = tp
        self.next_fetch_offset = fetch_offset
        self.leader_epoch = -1
        self.bytes_read = records.size_in_bytes()
        self._batches: TolerantRecords | None = TolerantRecords(bytes(records._buffer))
        self._on_drain = on_drain

    def __bool__(self) -> bool:
        return self._batches is not None

    def drain(self) -> None:
        """Nothing of it is wanted any more."""
        if self._batches is not None:
            self._batches = None
            self._on_drain(self)

    def take(self, most: int) -> list[FetchedRecord]:
        """Whole batches until there are ``most`` records or none is left.

        Raises:
            CorruptRecordError: a batch is not what its checksum says.
        """
        found: list[FetchedRecord] = []
        while self._batches is not None and len(found) < most:
            if not self._batches.has_next():
                self.drain()
                break
            batch = self._batches.next_batch()
            if not batch.validate_crc():
                if found:  # they are good; this batch is fetched again
                    self.drain()
                    break
                raise CorruptRecordError(
                    f"{self.topic_partition} is damaged behind offset {self.next_fetch_offset}"
                )
            if not batch.is_control_batch:
                self._read(batch, found)
            self.next_fetch_offset = batch.next_offset
        return found

    def _read(self, batch: Any, found: list[FetchedRecord]) -> None:
        topic, partition = self.topic_partition
        first = self.next_fetch_offset
        for record in batch:
            offset = record.offset
            if offset >= first:  # a fetch may begin in the middle of a batch
                found.append(
                    FetchedRecord(
                        topic, partition, offset, record.timestamp, record.timestamp_type,
                        record.key, record.value, None, -1, -1, record.headers,
                    )
                )  # fmt: skip
