"""The gate between Kafka's clients and librdkafka's mock cluster; it mends two faults of the mock.

*The version probe.* The mock garbles its answer to ApiVersions requests of version 3 and later, on
which kafka-python gives up. The gate answers the probe itself, with what the mock says it can do.

*The race of a group's leader.* A member that asks for its partitions (SyncGroup) after the leader
has handed the assignment in is refused by the mock with InvalidRequest, on which aiokafka gives
up. The gate holds the leader's request back until all others have asked.

Everything else passes unread.
"""

import asyncio
import struct
from dataclasses import dataclass

JOIN_GROUP = 11
LEAVE_GROUP = 13
SYNC_GROUP = 14
API_VERSIONS = 18
PROBE_VERSIONS = (0, 4)
FIRST_FLEXIBLE_PROBE = 3
UNSUPPORTED_VERSION = 35
HIGHEST = {
    API_VERSIONS: PROBE_VERSIONS[1],
    JOIN_GROUP: 5,  # the mock garbles its answer from 6 on
    LEAVE_GROUP: 2,  # the mock does not read the list of members that comes from 3 on
    SYNC_GROUP: 3,  # the last that `Sync` can read
}
FOLLOWERS_SECONDS = 3.0  # a follower that has died must not hold its group back for longer
MARGIN_SECONDS = 0.02  # the mock may read the leader's socket before that of the last follower
CHUNK_BYTES = 1 << 18

Versions = dict[int, tuple[int, int]]
"""Request type -> lowest and highest version served."""


class Gate:
    """Listens on a free port of 127.0.0.1 and forwards every connection to the mock's port."""

    def __init__(self, mock_port: int) -> None:
        self._mock_port = mock_port
        self._versions: Versions = {}
        self._groups = Groups()

    async def open(self) -> int:
        """Start to listen; returns the port."""
        reader, writer = await self._connect()
        writer.write(_framed(struct.pack(">hhih", API_VERSIONS, 0, 0, -1)))
        self._versions = parse_versions(await _read_frame(reader))
        writer.close()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=CHUNK_BYTES)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._mock_port, limit=CHUNK_BYTES)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection, until either side closes it."""
        try:
            mock_reader, mock_writer = await self._connect()
        except OSError:  # the mock is down on request: so are we
            writer.close()
            return
        pumps = [
            asyncio.create_task(self._pass_requests(reader, writer, mock_writer)),
            asyncio.create_task(_pass_answers(mock_reader, writer)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        for outcome in await asyncio.gather(*pumps, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, EOFError | OSError):
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "the gate of the embedded broker failed", "exception": outcome}
                )
        writer.close()
        mock_writer.close()

    async def _pass_requests(
        self, reader: asyncio.StreamReader, client: asyncio.StreamWriter, mock: asyncio.StreamWriter
    ) -> None:
        probing = True  # the probe comes first: no answer of the mock is on its way by then
        while True:
            frame = await _read_frame(reader)
            request_type, version, correlation = struct.unpack_from(">hhi", frame)
            if request_type == API_VERSIONS and probing:
                client.write(_framed(answer_probe(self._versions, version, correlation)))
                continue
            probing = False
            if request_type == SYNC_GROUP:
                sync = Sync.parse(frame)
                await self._groups.hold_leader(sync)
                mock.write(_framed(frame))
                self._groups.count_follower(sync)
            else:
                mock.write(_framed(frame))
            await mock.drain()


@dataclass(frozen=True)
class Sync:
    """What matters of a SyncGroup request; only that of the leader carries `assignments`."""

    group: str
    generation: int
    member: str
    assignments: int

    @classmethod
    def parse(cls, frame: bytes) -> "Sync":
        """Read a request of version 0 to 3."""
        version = struct.unpack_from(">h", frame, 2)[0]
        _, at = _string(frame, 8)  # the client's id
        group, at = _string(frame, at)
        generation = struct.unpack_from(">i", frame, at)[0]
        member, at = _string(frame, at + 4)
        if version >= 3:
            _, at = _string(frame, at)  # the id of a static member
        return cls(group, generation, member, struct.unpack_from(">i", frame, at)[0])


class Generation:
    """The members of one generation of a group that have asked for their partitions."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._followers: set[str] = set()
        self._changed = asyncio.Event()

    def count(self, member: str) -> None:
        """Note that a follower has passed."""
        self._followers.add(member)
        self._changed.set()

    async def wait_for(self, followers: int) -> None:
        """Return once so many followers have passed."""
        while len(self._followers) < followers:
            self._changed.clear()
            await self._changed.wait()


class Groups:
    """Lets the leader of each group pass last."""

    def __init__(self) -> None:
        self._newest: dict[str, Generation] = {}

    def _generation(self, sync: Sync) -> Generation:
        newest = self._newest.get(sync.group)
        if newest is None or newest.number < sync.generation:
            newest = self._newest[sync.group] = Generation(sync.generation)
        return newest

    async def hold_leader(self, sync: Sync) -> None:
        """Return once all followers have passed; at once for a follower or a lone member."""
        if sync.assignments < 2:
            return
        try:
            async with asyncio.timeout(FOLLOWERS_SECONDS):
                await self._generation(sync).wait_for(sync.assignments - 1)
        except TimeoutError:
            return
        await asyncio.sleep(MARGIN_SECONDS)

    def count_follower(self, sync: Sync) -> None:
        """Note that the request has passed."""
        if sync.assignments == 0:
            self._generation(sync).count(sync.member)


def parse_versions(answer: bytes) -> Versions:
    """Read the mock's answer to a probe of version 0, less what the gate does not let pass."""
    versions = {}
    for request_type, low, high in struct.iter_unpack(">hhh", answer[10:]):
        versions[request_type] = (low, HIGHEST.get(request_type, high))
    return versions


def answer_probe(versions: Versions, version: int, correlation: int) -> bytes:
    """An ApiVersions answer as the protocol has it in the version asked for.

    To a newer one than is known it is an error in version 0, from which clients go down.
    """
    known = version <= PROBE_VERSIONS[1]
    flexible = known and version >= FIRST_FLEXIBLE_PROBE
    answer = struct.pack(">ih", correlation, 0 if known else UNSUPPORTED_VERSION)
    answer += struct.pack(">B", len(versions) + 1) if flexible else struct.pack(">i", len(versions))
    for request_type, (low, high) in sorted(versions.items()):
        answer += struct.pack(">hhh", request_type, low, high) + (b"\0" if flexible else b"")
    if known and version >= 1:
        answer += struct.pack(">i", 0)  # not throttled
    return answer + (b"\0" if flexible else b"")


def _string(frame: bytes, at: int) -> tuple[str, int]:
    """The nullable string at offset `at`, and the offset behind it."""
    length = max(0, struct.unpack_from(">h", frame, at)[0])
    return frame[at + 2 : at + 2 + length].decode(), at + 2 + length


def _framed(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    length = struct.unpack(">i", await reader.readexactly(4))[0]
    return await reader.readexactly(length)


async def _pass_answers(mock: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
    while answers := await mock.read(CHUNK_BYTES):
        client.write(answers)
        await client.drain()
