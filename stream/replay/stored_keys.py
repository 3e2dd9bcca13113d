"""The keys that an installation has in Redis, walked through without holding the server up."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

from redis.asyncio.cluster import RedisCluster

from serving.round_trip import Acknowledgement, RedisClient, round_trip

SCANNED_AT_ONCE = 1_000
"""Keys of one step of a walk: about a millisecond of the server."""


async def stored_keys(redis: RedisClient, pattern: str) -> AsyncIterator[list[str]]:
    """All keys of a pattern, some at a time; one that comes or goes meanwhile may be missed, and
    one may come twice.

    Raises:
        redis.RedisError: a server is away.
    """
    servers: list[Any] = [redis]
    if isinstance(redis, RedisCluster):
        await redis.initialize()
        servers = redis.get_primaries()
    for server in servers:
        cursor = 0
        while True:
            reply: Any = await server.execute_command(
                "SCAN", cursor, "MATCH", pattern, "COUNT", SCANNED_AT_ONCE
            )
            cursor, found = int(reply[0]), reply[1]
            if found:
                yield [key.decode() for key in found]
            if cursor == 0:
                break


async def number_of_keys(redis: RedisClient) -> int:
    """Of all primaries, whoever's they are."""
    if not isinstance(redis, RedisCluster):
        return int(await redis.dbsize())
    await redis.initialize()
    return sum([int(await each.execute_command("DBSIZE")) for each in redis.get_primaries()])


async def unlink(redis: RedisClient, keys: Iterable[str]) -> int:
    """Delete keys, which may lie on any servers, in one trip; the servers free them aside.

    Returns:
        How many there were.
    """
    script = "return redis.call('UNLINK', KEYS[1])"
    commands = [("EVAL", script, 1, key) for key in keys]
    replies = await round_trip(redis, commands, Acknowledgement())
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return sum(replies)
