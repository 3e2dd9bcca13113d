"""More events than memory holds, in order: sorted runs on disk, merged block by block.

An external merge sort (Knuth, The Art of Computer Programming 3, 5.4): what fits into memory is
sorted and written as a run; at most `FAN_IN` runs at a time are read side by side, a block of each
in memory. Blocks are merged in columns: what is not behind the first of the blocks' last rows is
complete, and is sorted at once. Input that is in order makes one long run, however much it is.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

COLUMNS = pa.schema([("time", pa.int64()), ("id", pa.binary()), ("data", pa.binary())])
"""Epoch milliseconds, event id in UTF-8, JSON: what orders events, in this order."""
RUN_BYTES = 32 * 1024 * 1024
"""Sorted in memory at a time; sorting takes three times as much."""
BLOCK_BYTES = 256 * 1024
BLOCK_ROWS = 2_048
FAN_IN = 64
"""Runs read side by side: 16 MB in blocks, and twice that while they are merged."""

Events: TypeAlias = Any
"""A record batch of `COLUMNS`."""
Key: TypeAlias = tuple[int, bytes, bytes]


class RunWriter:
    """Takes events in any order and leaves sorted runs in a folder.

    Args:
        folder: where the files go.
        run_bytes: of memory for what is not yet sorted.
    """

    def __init__(self, folder: Path, run_bytes: int = RUN_BYTES) -> None:
        self._folder = folder
        self._run_bytes = run_bytes
        self._held: list[Events] = []
        self._bytes = 0
        self._open: tuple[Any, Any] | None = None
        self._last: Key | None = None
        self._number = 0
        self.runs: list[Path] = []
        """Those written so far."""
        self.events = 0
        """Taken in."""
        self.first = self.newest = 0
        """Their oldest and newest time, epoch milliseconds."""

    def add(self, events: Events) -> None:
        """Take in some events."""
        if len(events):
            self._held.append(events)
            self._bytes += events.nbytes
            if self._bytes >= self._run_bytes:
                self._write()

    def close(self) -> list[Path]:
        """Write what is left; at most `FAN_IN` runs remain."""
        self._write()
        self._end_run()
        while len(self.runs) > FAN_IN:
            first = self.runs[:FAN_IN]
            self.runs = self.runs[FAN_IN:]
            for events in merged(first):
                self._append(events)
            self._end_run()
            for path in first:
                path.unlink()
        return self.runs

    def _write(self) -> None:
        if not self._held:
            return
        events = in_order(self._held)
        first, newest = int(_times(events)[0]), int(_times(events)[-1])
        self.first = min(self.first, first) if self.events else first
        self.newest = max(self.newest, newest)
        self.events += len(events)
        self._bytes = 0
        if self._last is not None and key_at(events, 0) < self._last:
            self._end_run()
        self._append(events)
        del events
        pa.default_memory_pool().release_unused()

    def _append(self, events: Events) -> None:
        if self._open is None:
            path = self._folder / f"run-{self._number:05}.arrow"
            self._number += 1
            file = pa.OSFile(str(path), "wb")
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._open = file, pa.ipc.new_stream(file, COLUMNS, options=options)
            self.runs.append(path)
        for start, end in _cuts(events):
            self._open[1].write_batch(events.slice(start, end - start))
        self._last = key_at(events, len(events) - 1)

    def _end_run(self) -> None:
        if self._open is not None:
            file, writer = self._open
            writer.close()
            file.close()
        self._open = self._last = None


def merged(runs: Sequence[Path]) -> Generator[Events, None, None]:
    """The events of sorted runs in order, in blocks of no particular size.

    The files are opened at once: they may be deleted while they are read.
    """
    with ExitStack() as stack:
        fronts = [_Front(stack.enter_context(pa.OSFile(str(path)))) for path in runs]
        while fronts := [front for front in fronts if front.fill()]:
            bounds = [front.bound for front in fronts if front.bound is not None]
            bound = min(bounds, default=None)
            pieces = [piece for front in fronts if len(piece := front.take(bound))]
            yield in_order(pieces) if len(pieces) > 1 else pieces[0]


def in_order(pieces: list[Events]) -> Events:
    """Record batches, one at least, as a sorted one; the list is emptied, for the memory."""
    events = pa.Table.from_batches(pieces, COLUMNS).combine_chunks().to_batches()[0]
    pieces.clear()
    times = _times(events)
    if (times[1:] > times[:-1]).all():
        return events
    order = pa.compute.sort_indices(
        events, sort_keys=[(name, "ascending") for name in COLUMNS.names]
    )
    return events.take(order)


def key_at(events: Events, row: int) -> Key:
    """What orders a row among all."""
    return tuple(events.column(at)[row].as_py() for at in range(3))


class _Front:
    """How far a run has been merged."""

    def __init__(self, file: Any) -> None:
        self._reader = pa.ipc.open_stream(file)
        self._block: Events = None
        self._following = self._next()
        self._start = 0
        self._times = np.zeros(0, np.int64)
        self.bound: Key | None = None
        """The last row in hand; None where no more come behind it."""

    def fill(self) -> bool:
        """Have rows in hand; False at the end of the run."""
        if self._start == len(self._times):
            self._block, self._following = self._following, self._next()
            if self._block is None:
                return False
            self._start, self._times = 0, _times(self._block)
            is_last = self._following is None
            self.bound = None if is_last else key_at(self._block, len(self._block) - 1)
        return True

    def take(self, bound: Key | None) -> Events:
        """The rows up to and with ``bound``, all in hand for None."""
        end = len(self._times) if bound is None else self._rows_until(bound)
        taken = self._block.slice(self._start, end - self._start)
        self._start = end
        return taken

    def _rows_until(self, bound: Key) -> int:
        """How many rows of the block are not behind a key."""
        low = int(self._times.searchsorted(bound[0], "left"))
        if low == len(self._times) or self._times[low] != bound[0]:
            return low
        high = int(self._times.searchsorted(bound[0], "right"))
        while low < high:
            middle = (low + high) // 2
            if key_at(self._block, middle) <= bound:
                low = middle + 1
            else:
                high = middle
        return low

    def _next(self) -> Events:
        """The next block; None behind the last one."""
        try:
            return self._reader.read_next_batch()
        except StopIteration:
            return None


def _times(events: Events) -> NDArray[np.int64]:
    times: NDArray[np.int64] = events.column(0).to_numpy()
    return times


def _cuts(events: Events) -> Iterator[tuple[int, int]]:
    """First row and end of blocks of some `BLOCK_BYTES` each."""
    data = events.column(2)
    offsets = np.frombuffer(data.buffers()[1], np.int32)[data.offset :][: len(data) + 1]
    start = 0
    while start < len(data):
        end = int(np.searchsorted(offsets, offsets[start] + BLOCK_BYTES, "right")) - 1
        end = min(max(end, start + 1), start + BLOCK_ROWS, len(data))
        yield start, end
        start = end
