"""A source of the past, read in a thread of its own, one batch ahead."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

from stream.replay.past import Past, PastBatch, Position

JOIN_S = 5.0
"""How long a source that is told to stop may take to give up what it waits for."""
Read: TypeAlias = PastBatch | BaseException | None


class ReadAhead:
    """The batches behind a position; ``next`` gives them one after the other."""

    def __init__(self, past: Past, done: Position) -> None:
        self._past, self._done = past, done
        self._loop = asyncio.get_running_loop()
        self._read: asyncio.Queue[Read] = asyncio.Queue()
        self._room = threading.Semaphore(2)  # the one that is waited for, and the one ahead
        self._is_over = threading.Event()
        # A daemon: what waits for a broker does not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="read the past", daemon=True)
        self._thread.start()

    async def next(self) -> PastBatch | None:
        """The next batch; None behind the last one. Raises what ``Past.batches`` raises."""
        read = await self._read.get()
        self._room.release()
        if read is None:
            self._read.put_nowait(None)
        if isinstance(read, BaseException):
            raise read
        return read

    async def stop(self) -> None:
        """Read no further."""
        self._is_over.set()
        self._room.release()
        await asyncio.to_thread(self._thread.join, JOIN_S)

    def _run(self) -> None:
        end: BaseException | None = None
        try:
            batches = self._past.batches(self._done)
            for batch in batches:
                self._room.acquire()
                if self._is_over.is_set():
                    break
                self._tell(batch)
        except BaseException as error:
            end = error
        self._tell(end)

    def _tell(self, read: Read) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._read.put_nowait, read)


@asynccontextmanager
async def read_ahead(past: Past, done: Position) -> AsyncIterator[ReadAhead]:
    """The batches of a source; it is told to stop at the end of the context."""
    reading = ReadAhead(past, done)
    try:
        yield reading
    finally:
        await reading.stop()
