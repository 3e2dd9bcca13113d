"""Header names that are not UTF-8: aiokafka gives up on them, and one record would stop a stream.

Kafka takes any bytes for the name of a header, and clients in C and Go send them. Here such a name
is read with its bytes as escapes (``\\xff``); nothing else changes, and a batch without one is read
by aiokafka's own compiled reader.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

LENGTH = slice(8, 12)
"""Of a batch, the bytes that hold the number of bytes behind them."""
MAGIC = 16
FIRST_WITH_HEADERS = 2


def read_any_header_name() -> None:
    """Have all of aiokafka's consumers in this process read any header name."""
    fetcher.MemoryRecords = TolerantRecords


class TolerantRecords:
    """The batches of one fetch, as ``aiokafka.record.memory_records.MemoryRecords`` gives them."""

    def __init__(self, data: bytes) -> None:
        self._records = MemoryRecords(data)
        self._data = memoryview(data)
        self._at = 0

    def size_in_bytes(self) -> int:
        """Of all batches."""
        return int(self._records.size_in_bytes())

    def has_next(self) -> bool:
        """Whether `next_batch` has another one."""
        return bool(self._records.has_next())

    def next_batch(self) -> Any:
        """The next batch."""
        batch = self._records.next_batch()
        rest = self._data[self._at :]
        size = LENGTH.stop + int.from_bytes(rest[LENGTH], "big")
        self._at += size
        if rest[MAGIC] < FIRST_WITH_HEADERS or batch.is_control_batch:
            return batch
        return _TolerantBatch(batch, rest[:size])


class _TolerantBatch:
    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch, self._data = batch, data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        read = 0
        try:
            for record in self._batch:
                read += 1
                yield record
        except UnicodeDecodeError:
            yield from islice(_EscapingBatch(self._data), read, None)


class _EscapingBatch(_DefaultRecordBatchPy):  # type: ignore[misc]
    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer: bytearray = _EscapingBytes(self._buffer)


class _EscapingBytes(bytearray):
    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _EscapingBytes(found) if isinstance(at, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, "backslashreplace")
