"""What a trip waits for, and for how long: a server that others make wait has its time."""

import asyncio
import builtins
import importlib.metadata
import tomllib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from redis.exceptions import TimeoutError

from serving.round_trip import REPLIES_AT_ONCE, Acknowledgement, round_trip

TIMEOUT_S = 1.0


class SlowServer:
    """A fake of a Redis, its pool, its one connection, that one's writer and parser; time is its
    own."""

    socket_timeout = TIMEOUT_S
    is_connected = True

    def __init__(self, replies: Sequence[tuple[float, Any]]) -> None:
        """Each reply with the seconds that it takes."""
        self.now_s = 0.0
        self.is_open = True
        self._replies = iter(replies)
        self.connection_pool = SimpleNamespace(
            get_available_connection=lambda: self,
            _available_connections=[],
            _in_use_connections={self},
        )
        self._parser = self._writer = self

    def write(self, packed: bytes) -> None:
        pass

    async def drain(self) -> None:
        pass

    async def disconnect(self, nowait: bool = False) -> None:
        self.is_open = False

    async def read_response(self) -> Any:
        seconds, reply = next(self._replies)
        self.now_s += seconds
        return reply

    @asynccontextmanager
    async def timeout(self, most_s: float) -> AsyncIterator[None]:
        """As ``asyncio.timeout``."""
        begun_s = self.now_s
        yield
        if self.now_s - begun_s > most_s:
            raise builtins.TimeoutError


async def trip(
    monkeypatch: pytest.MonkeyPatch, server: SlowServer, commands: int, waits_for: Acknowledgement
) -> list[Any]:
    redis: Any = server
    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "timeout", server.timeout)
        return await round_trip(redis, [("FCALL", "f", "1", "key")] * commands, waits_for)


async def test_each_wait_has_a_time_out_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    server = SlowServer([(0.5, b"one"), (0.3, b"two"), (0.8, 1), (0.8, [1, 1])])
    replies = await trip(monkeypatch, server, 2, Acknowledgement("disk", replicas=1))
    assert replies == [b"one", b"two"]
    assert server.now_s == pytest.approx(2.4)
    assert server.is_open


@pytest.mark.parametrize("late", range(4))
async def test_a_reply_that_does_not_come_ends_the_trip(
    monkeypatch: pytest.MonkeyPatch, late: int
) -> None:
    seconds = [0.1] * 4
    seconds[late] = 1.1
    server = SlowServer(list(zip(seconds, [b"one", b"two", 1, [1, 1]], strict=True)))
    with pytest.raises(TimeoutError, match="have not come within 1 s"):
        await trip(monkeypatch, server, 2, Acknowledgement("disk", replicas=1))
    assert not server.is_open, "its replies would answer the next commands"


async def test_many_replies_are_read_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 2 * REPLIES_AT_ONCE + 1
    server = SlowServer([(0.0, at) for at in range(count)])
    assert await trip(monkeypatch, server, count, Acknowledgement()) == list(range(count))


def test_redis_py_is_of_a_version_whose_private_members_were_read() -> None:
    """Of ``TOUCH_POINTS``, which test_batches_setup.py looks for."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    assert "redis[hiredis]>=6,<9" in project["project"]["dependencies"]
    assert 6 <= int(importlib.metadata.version("redis").partition(".")[0]) < 9
