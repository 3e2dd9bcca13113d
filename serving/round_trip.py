"""One pipelined trip to Redis: to one server, or to each node of a cluster in parallel.

redis-py's own pipelines spend more on a command than the server does, cannot ask a node of a
cluster to wait for its replicas, and send what was redirected one by one; its packing of a command
in Python costs six times that of hiredis. What its pool does around a connection (a look whether
it is still there, a task for each write, counts for telemetry) costs a small trip more than all
the rest: here a connection that the server has closed is noticed by the trip itself.
"""

import asyncio
import builtins
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from hiredis import pack_command
from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, NodesManager, RedisCluster
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.cluster import PRIMARY
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError,
    MovedError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)

RedisClient: TypeAlias = "Redis | RedisCluster"
Command: TypeAlias = tuple[Any, ...]
Durability: TypeAlias = Literal["none", "replica", "disk"]

COMMANDS_AT_ONCE = 128
REPLIES_AT_ONCE = 64
"""Read under one time-out: redis-py sets one up for each, which costs as much as reading it."""
REDIRECTIONS = 8
"""Rounds in which commands follow slots that move, 50 ms apart where there is no hint."""
PAUSE_S = 0.05

#: Everything of redis-py that is private or not documented, and is called or read here; a test
#: holds the list. Before its bound in pyproject.toml moves: read the new source of each.
TOUCH_POINTS: tuple[tuple[type, str], ...] = (
    (AbstractConnection, "_parser"),
    (AbstractConnection, "_writer"),
    (AbstractConnection, "is_connected"),
    (AbstractConnection, "socket_timeout"),
    (ClusterNode, "acquire_connection"),
    (ClusterNode, "disconnect_if_needed"),
    (ClusterNode, "release"),
    (ConnectionPool, "_available_connections"),
    (ConnectionPool, "_in_use_connections"),
    (ConnectionPool, "get_available_connection"),
    (RedisCluster, "_initialize"),
    (RedisCluster, "nodes_manager"),
    (NodesManager, "connection_kwargs"),
    (NodesManager, "get_node_from_slot"),
    (NodesManager, "move_slot"),
    (NodesManager, "nodes_cache"),
    (NodesManager, "set_nodes"),
)


class StoreError(RuntimeError):
    """Redis answered with something this worker must not go on with."""


class NotDurableError(RedisError):
    """A write has not reached the replicas or the disk in time; it has to be done again."""


@dataclass(frozen=True)
class Acknowledgement:
    """What a write waits for before it counts as done.

    Args:
        durability: nothing, replicas, or the disk (append-only file synced).
        replicas: how many must have it; with ``disk`` on their disks too.
        timeout_ms: after which the trip fails.
    """

    durability: Durability = "none"
    replicas: int = 0
    timeout_ms: int = 2_000

    def commands(self) -> list[Command]:
        """What is sent behind the writes, on the same connection; the last reply tells."""
        match self.durability:
            case "none":
                return []
            case "replica":
                return [("WAIT", max(1, self.replicas), self.timeout_ms)]
            case "disk":
                wait: Command = ("WAITAOF", 1, self.replicas, self.timeout_ms)
                # A replica reports its disk when it is asked, and syncs it after that answer: to
                # be asked a second time saves the second until it reports by itself.
                return [("WAIT", self.replicas, self.timeout_ms), wait] if self.replicas else [wait]

    def check(self, reply: Any) -> None:
        """Raise NotDurableError or StoreError unless ``reply`` says that the writes are safe."""
        if isinstance(reply, ResponseError):
            if "unknown command" in str(reply) or "appendonly is disabled" in str(reply):
                raise StoreError(
                    f"Redis cannot wait for its {self.durability} ({reply}); `disk` needs Valkey, "
                    "or Redis 7.2 or later, with `appendonly yes`"
                )
            raise reply
        if isinstance(reply, Exception):
            raise reply
        if self.durability == "replica" and reply < max(1, self.replicas):
            raise NotDurableError(f"{reply} replicas have the write, not {max(1, self.replicas)}")
        if self.durability == "disk" and (reply[0] < 1 or reply[1] < self.replicas):
            raise NotDurableError(
                f"{reply[0]} local and {reply[1]} replicas' disks have the write, "
                f"not 1 and {self.replicas}"
            )


async def round_trip(
    redis: RedisClient, commands: Sequence[Command], acknowledgement: Acknowledgement
) -> list[Any]:
    """Send all commands at once and return their replies; an error of one is its reply.

    Args:
        redis: one server or a cluster.
        commands: whose first key, for a cluster, is their fourth word (``FCALL name n key ...``).
        acknowledgement: what the writes among them wait for.

    Raises:
        NotDurableError: the writes were made, and not acknowledged.
        StoreError: the server does not know the acknowledgement asked for.
        redis.RedisError: a server cannot be reached, or slots have no owner.
    """
    if isinstance(redis, RedisCluster):
        try:
            return await _to_cluster(redis, commands, acknowledgement)
        except RedisClusterException as error:
            # No RedisError, though it passes: no node answers, or slots have no owner now.
            redis._initialize = True
            raise ConnectionError(str(error)) from error
    pool = redis.connection_pool
    connection: AbstractConnection = pool.get_available_connection()  # type: ignore[no-untyped-call]
    try:
        replies = await _exchange(connection, commands, acknowledgement)
        if any(isinstance(reply, ReadOnlyError) for reply in replies):
            # Demoted: behind the same name a new connection may find the new primary.
            await connection.disconnect()
        return replies
    except ConnectionError:
        # The server may have been restarted since this connection was used last.
        await connection.disconnect()
        return await _exchange(connection, commands, acknowledgement)
    finally:
        pool._in_use_connections.discard(connection)
        pool._available_connections.append(connection)


async def _exchange(
    connection: AbstractConnection, commands: Sequence[Command], acknowledgement: Acknowledgement
) -> list[Any]:
    waits = acknowledgement.commands()
    sent = [*commands, *waits]
    try:
        if not connection.is_connected:
            await connection.connect()  # type: ignore[no-untyped-call]
        # The server is at work on the first ones while the last ones are packed.
        for first in range(0, len(sent), COMMANDS_AT_ONCE):
            if first:
                await _written(connection)
            some = sent[first : first + COMMANDS_AT_ONCE]
            _write(connection, b"".join([pack_command(command) for command in some]))
        replies: list[Any] = []
        while missing := len(commands) - len(replies):
            replies += await _replies(connection, min(missing, REPLIES_AT_ONCE))
        # A server that waits for others may lawfully take most of the time-out, each time.
        waited = [await _replies(connection, 1) for _ in waits]
    except BaseException:
        # Replies that nobody has read would answer the next commands.
        await connection.disconnect(nowait=True)
        raise
    # Where nothing was done there is nothing to wait for, and the errors say more: a primary that
    # has become a replica tells where the slots are, and refuses to wait.
    if waits and not all(isinstance(reply, ResponseError) for reply in replies):
        acknowledgement.check(waited[-1][0])
    return replies


def _write(connection: AbstractConnection, packed: bytes) -> None:
    writer: Any = connection._writer
    try:
        writer.write(packed)
    except RuntimeError as error:
        # How libuv says that it is closed; asyncio's own loop leaves that to the replies.
        if not writer.transport.is_closing():
            raise
        raise ConnectionError(f"the connection to Redis is closed: {error}") from error


async def _written(connection: AbstractConnection) -> None:
    """Return once there is room for more; of the last commands the replies tell."""
    writer: Any = connection._writer
    try:
        async with asyncio.timeout(connection.socket_timeout):
            await asyncio.sleep(0)  # libuv writes when its loop turns
            await writer.drain()
    except builtins.TimeoutError:
        raise TimeoutError(
            f"Redis has not taken commands within {connection.socket_timeout:g} s"
        ) from None
    except OSError as error:
        raise ConnectionError(f"the connection to Redis broke: {error}") from error


async def _replies(connection: AbstractConnection, count: int) -> list[Any]:
    """The next replies; an error that the server tells is one."""
    parser: Any = connection._parser
    try:
        async with asyncio.timeout(connection.socket_timeout):
            return [await parser.read_response() for _ in range(count)]
    except builtins.TimeoutError:
        raise TimeoutError(
            f"{count} replies of Redis have not come within {connection.socket_timeout:g} s"
        ) from None
    except OSError as error:
        raise ConnectionError(f"the connection to Redis broke: {error}") from error


async def _to_cluster(
    redis: RedisCluster, commands: Sequence[Command], acknowledgement: Acknowledgement
) -> list[Any]:
    replies: list[Any] = [None] * len(commands)
    pending = list(range(len(commands)))
    asked: dict[int, ClusterNode] = {}
    for attempt in range(REDIRECTIONS):
        await redis.initialize()
        by_node: dict[ClusterNode, list[int]] = {}
        for at in pending:
            node = asked.get(at) or _owner(redis, commands[at])
            by_node.setdefault(node, []).append(at)
        trips = [
            _to_node(node, [(at, commands[at], at in asked) for at in places], acknowledgement)
            for node, places in by_node.items()
        ]
        failed: Exception | None = None
        for places, answer in zip(
            by_node.values(), await asyncio.gather(*trips, return_exceptions=True), strict=True
        ):
            if isinstance(answer, ConnectionError | TimeoutError):
                failed = answer
                continue
            if isinstance(answer, BaseException):
                raise answer
            for at, reply in zip(places, answer, strict=True):
                replies[at] = reply
        if failed is not None:
            # A node is gone; who has its slots now is asked anew before the next trip.
            redis._initialize = True
            raise failed
        pending, asked = await _redirected(redis, replies, pending)
        if not pending:
            return replies
        if not asked and attempt:
            await asyncio.sleep(PAUSE_S)
    raise next(replies[at] for at in pending)


def _owner(redis: RedisCluster, command: Command) -> ClusterNode:
    return redis.nodes_manager.get_node_from_slot(key_slot(command[3].encode()))


async def _to_node(
    node: ClusterNode,
    commands: Sequence[tuple[int, Command, bool]],
    acknowledgement: Acknowledgement,
) -> list[Any]:
    sent: list[Command] = []
    for _, command, is_asking in commands:
        sent += [("ASKING",), command] if is_asking else [command]
    connection = node.acquire_connection()
    try:
        await node.disconnect_if_needed(connection)
        replies = await _exchange(connection, sent, acknowledgement)
    finally:
        node.release(connection)
    return [reply for reply, command in zip(replies, sent, strict=True) if command != ("ASKING",)]


async def _redirected(
    redis: RedisCluster, replies: Sequence[Any], pending: Sequence[int]
) -> tuple[list[int], dict[int, ClusterNode]]:
    """What has to be sent again, and where a node has told the way for one command only."""
    again: list[int] = []
    asked: dict[int, ClusterNode] = {}
    for at in pending:
        match replies[at]:
            case MovedError() as error:
                await redis.nodes_manager.move_slot(error)
            case AskError() as error:
                asked[at] = _node_at(redis, error.host, error.port)
            case ClusterDownError():
                redis._initialize = True
            case TryAgainError():
                pass
            case _:
                continue
        again.append(at)
    return again, asked


def _node_at(redis: RedisCluster, host: str, port: int) -> ClusterNode:
    """A node by its address; one that owns no slots yet is in no topology."""
    known = redis.get_node(host=host, port=port)
    if known is not None:
        return known
    manager = redis.nodes_manager
    node = ClusterNode(host, port, PRIMARY, **manager.connection_kwargs)
    manager.set_nodes(manager.nodes_cache, {node.name: node})
    return node
