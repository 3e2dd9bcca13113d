"""A connection that the other side has closed is a broken one, though libuv raises at a write."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from redis.asyncio import Redis

from serving.round_trip import Acknowledgement, round_trip
from stream.closed_connection import take_for_broken
from tests.stage import GUARD_S

LOOPS = pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])


def run(
    make_loop: Callable[[], asyncio.AbstractEventLoop], steps: Coroutine[Any, Any, None]
) -> None:
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(asyncio.wait_for(steps, GUARD_S))


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.transport.abort()


async def closed(writer: asyncio.StreamWriter) -> None:
    """Write until the transport has noticed that nobody is there."""
    while not writer.transport.is_closing():
        writer.write(b"x")
        await asyncio.sleep(0.001)


def test_a_request_to_a_broker_that_is_gone_fails_as_one() -> None:
    take_for_broken()
    take_for_broken()  # by each client

    async def steps() -> None:
        async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            connection: Any = AIOKafkaConnection("127.0.0.1", port)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await closed(writer)
            with pytest.raises(RuntimeError):
                writer.write(b"or this is for nothing")
            # By hand: what it asks at its start would not be answered.
            connection._reader, connection._writer = reader, writer
            connection._read_task = asyncio.create_task(asyncio.sleep(0))
            with pytest.raises(KafkaConnectionError, match="is closed"):
                connection._send_sasl_token(b"token")
            assert not connection.connected()

    run(uvloop.new_event_loop, steps())


def test_another_fault_stays_what_it_is() -> None:
    take_for_broken()

    async def steps() -> None:
        connection: Any = AIOKafkaConnection("127.0.0.1", 1)
        with pytest.raises(KafkaConnectionError, match="No connection"):
            connection.send(None)

        class Faulty:
            def write(self, data: bytes) -> None:
                raise RuntimeError("of ours")

            @property
            def transport(self) -> Any:
                return self

            def is_closing(self) -> bool:
                return False

        connection._writer = Faulty()
        with pytest.raises(RuntimeError, match="of ours"):
            connection._send_sasl_token(b"token")

    run(uvloop.new_event_loop, steps())


@LOOPS
def test_a_trip_to_redis_comes_through_on_a_new_connection(
    make_loop: Callable[[], asyncio.AbstractEventLoop], redis_url: str
) -> None:
    async def steps() -> None:
        async with Redis.from_url(redis_url) as redis:
            commands, none = [("ECHO", "there")], Acknowledgement()
            assert await round_trip(redis, commands, none) == [b"there"]
            (connection,) = redis.connection_pool._available_connections
            writer: Any = connection._writer
            writer.transport.abort()
            with suppress(RuntimeError):
                for _ in range(20):  # asyncio drops what is written, libuv raises once it is closed
                    await asyncio.sleep(0)
                    writer.write(b"x")
            assert await round_trip(redis, commands, none) == [b"there"]

    run(make_loop, steps())
