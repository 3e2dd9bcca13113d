"""A TCP proxy on 127.0.0.1 that can misbehave as a network does: cut, stall, delay, refuse.

It runs in a thread of its own and every method may be called from any other, so that a test needs
no event loop for it and a test that has one is not in its way.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")

CHUNK = 65_536
HOST = "127.0.0.1"
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of no time: the peer sees a reset
PATIENCE_S = 60.0


class TcpProxy:
    """Stands before the server on ``127.0.0.1:target_port``; a context manager.

    Args:
        target_port: of the server; it need not be up, a connection to it is tried for each client.
        port: to listen on; by default a free one. Known and reserved from construction on, so that
            a server can be told to advertise it.
    """

    def __init__(self, target_port: int, port: int = 0) -> None:
        self.target_port = target_port
        self._reserved = _bound(port)
        self.port: int = self._reserved.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"proxy {self.port}", daemon=True)
        self._server: asyncio.Server | None = None
        self._flows: asyncio.Event = asyncio.Event()
        self._flows.set()
        self._delay_s = 0.0
        self._bytes_per_s: float | None = None
        self._sent = 0
        self._stall_at: int | None = None
        self._stalled = threading.Event()
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepted = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self.accept()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.refuse()
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(PATIENCE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()
        self._reserved.close()

    @property
    def address(self) -> str:
        """``127.0.0.1:port``."""
        return f"{HOST}:{self.port}"

    @property
    def accepted(self) -> int:
        """Connections that reached the server so far: a test sees that it was used at all."""
        return self._accepted

    def cut(self) -> int:
        """Reset every open connection; new ones are welcome. Returns how many there were."""
        return self._call(self._cut)

    def stall(self) -> None:
        """Let nothing through, in either direction; connections stay open and new ones open."""
        self._call(self._flows.clear)

    @property
    def sent(self) -> int:
        """Bytes that have gone to the server so far."""
        return self._sent

    def stall_after(self, sent: int) -> threading.Event:
        """Let so many more bytes through to the server, and then nothing, in either direction.

        Returns:
            An event that is set when it has come to that.
        """

        def change() -> threading.Event:
            self._stall_at, self._stalled = self._sent + sent, threading.Event()
            return self._stalled

        return self._call(change)

    def resume(self) -> None:
        """Let everything through again, what has waited first."""

        def change() -> None:
            self._stall_at = None
            self._flows.set()

        self._call(change)

    def delay(self, seconds: float) -> None:
        """Hold what passes from now on that long in each direction; 0 ends it."""

        def change() -> None:
            self._delay_s = seconds

        self._call(change)

    def throttle(self, bytes_per_s: float | None) -> None:
        """Let through so much per second, connection and direction; None ends it."""

        def change() -> None:
            self._bytes_per_s = bytes_per_s

        self._call(change)

    def refuse(self) -> int:
        """Reset every connection and refuse new ones, as a dead server does; returns how many."""
        asyncio.run_coroutine_threadsafe(self._refuse(), self._loop).result(PATIENCE_S)
        return self.cut()

    def accept(self) -> None:
        """Take connections again after `refuse`."""
        asyncio.run_coroutine_threadsafe(self._accept(), self._loop).result(PATIENCE_S)

    # -- in the proxy's thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, change: Callable[[], T]) -> T:
        async def change_it() -> T:
            return change()

        return asyncio.run_coroutine_threadsafe(change_it(), self._loop).result(PATIENCE_S)

    async def _accept(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, sock=self._reserved)

    async def _refuse(self) -> None:
        if self._server is None:
            return
        self._server.close()
        self._server = None
        # Bound and not listening: connections are refused, and nobody else gets the port.
        self._reserved = _bound(self.port)

    async def _end(self) -> None:
        self._cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _cut(self) -> int:
        pairs = list(self._pairs)
        for pair in pairs:
            for writer in pair:
                _reset(writer)
        return len(pairs)

    async def _connected(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            from_server, to_server = await asyncio.open_connection(HOST, self.target_port)
        except OSError:
            _reset(to_client)
            self._tasks.discard(task)
            return
        self._accepted += 1
        pair = (to_client, to_server)
        self._pairs.add(pair)
        try:
            ways = (
                self._pump(from_client, to_server, self._counted),
                self._pump(from_server, to_client),
            )
            await asyncio.gather(*ways)
        except OSError:
            pass  # cut by us, or by one side: the other one is cut below
        finally:
            self._pairs.discard(pair)
            self._tasks.discard(task)
            for writer in pair:
                _reset(writer)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        passed: Callable[[bytes, asyncio.StreamWriter], Awaitable[bytes]] | None = None,
    ) -> None:
        while data := await reader.read(CHUNK):
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            if self._bytes_per_s is not None:
                await asyncio.sleep(len(data) / self._bytes_per_s)
            await self._flows.wait()
            if passed is not None:
                data = await passed(data, writer)
            writer.write(data)
            await writer.drain()
        # One side has ended: what it sent before is through, and both are done.
        if writer.can_write_eof():
            writer.write_eof()

    async def _counted(self, data: bytes, writer: asyncio.StreamWriter) -> bytes:
        """Count what goes to the server; stall where that is due. Returns what is still to go."""
        room = len(data) if self._stall_at is None else self._stall_at - self._sent
        self._sent += min(room, len(data))
        if room >= len(data):
            return data
        writer.write(data[:room])
        await writer.drain()
        self._flows.clear()
        self._stalled.set()
        await self._flows.wait()
        self._sent += len(data) - room
        return data[room:]


def _bound(port: int) -> socket.socket:
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind((HOST, port))
    return found


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()
