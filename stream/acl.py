"""The rights in Redis that nextclick needs, and no more: the user of an access control list.

A test runs every verb as this user, and another one fails where a right is never used.
"""

from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from stream.settings import Settings

Role: TypeAlias = Literal["worker", "operator", "api"]
"""``worker`` and ``api`` are for ``nextclick worker`` and ``nextclick api``, which only reads;
``operator`` is for every other verb, which may do in Redis what a worker does."""

CALLS = ("eval", "eval_ro", "fcall", "fcall_ro", "function|list", "function|load")
LOOKED_AT = ("dbsize", "function|stats", "hget", "info", "memory|usage", "scan")
"""By `nextclick check` and `replay status`, look-ups of last lists, and walks over a generation."""
FROM_SCRIPTS = (
    "append", "del", "exists", "get", "getrange", "hdel", "hexists", "hgetall", "hmget", "hset",
    "hsetnx", "mget", "pexpire", "set", "time", "unlink", "zcard", "zincrby", "zremrangebyrank",
    "zrevrange",
)  # fmt: skip
"""Functions and scripts may do what their caller may."""
READING = (
    "eval_ro", "exists", "fcall_ro", "function|list", "get", "hget", "hgetall", "mget", "zrevrange",
)  # fmt: skip
CLUSTER = ("asking", "cluster|slots", "command")


def commands(settings: Settings, role: Role = "worker") -> list[str]:
    """The commands that these settings need, in order of the alphabet."""
    needed = set(READING) if role == "api" else {*CALLS, *LOOKED_AT, *FROM_SCRIPTS}
    if settings.is_cluster:
        needed |= set(CLUSTER)
    elif urlsplit(settings.redis_url).path not in ("", "/", "/0"):
        needed.add("select")
    if role == "api":
        return sorted(needed)
    if settings.redis_durability == "disk":
        needed.add("waitaof")
    if settings.redis_durability == "replica" or settings.redis_replicas:
        needed.add("wait")
    return sorted(needed)


def keys(settings: Settings, role: Role = "worker") -> str:
    """The pattern of the keys; ``%R~`` is for reading."""
    return f"{'%R' if role == 'api' else ''}~{settings.redis_prefix}:*"


def acl_line(settings: Settings, user: str, role: Role = "worker") -> str:
    """The user as a line of an ACL file; behind ``user`` it is what ``ACL SETUSER`` takes.

    There is no password in it, so that nobody can log in before one is added.
    """
    allowed = " ".join(f"+{command}" for command in commands(settings, role))
    return (
        f"user {user} on resetpass resetkeys {keys(settings, role)} resetchannels -@all {allowed}"
    )
