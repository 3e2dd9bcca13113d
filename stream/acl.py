"""The rights in Redis that nextclick needs, and no more: the user of an access control list.

A test runs every verb as this user, and another one fails where a right is never used.
"""

from urllib.parse import urlsplit

from stream.settings import Settings

LIBRARY = ("function|load", "fcall", "eval")
LOOKED_AT = ("dbsize", "function|stats", "hget", "info", "memory|usage", "scan")
"""By `nextclick check` and `replay status`, look-ups of last lists, and walks over a generation."""
FROM_SCRIPTS = (
    "del", "exists", "get", "getrange", "hdel", "hexists", "hgetall", "hmget", "hset", "pexpire",
    "set", "time", "unlink", "zadd", "zcard", "zincrby", "zrange", "zremrangebyrank", "zrevrange",
)  # fmt: skip
"""Functions and scripts may do what their caller may."""
CLUSTER = ("asking", "cluster|slots", "command")


def commands(settings: Settings) -> list[str]:
    """The commands that these settings need, in order of the alphabet."""
    needed = {*LIBRARY, *LOOKED_AT, *FROM_SCRIPTS}
    if settings.is_cluster:
        needed |= set(CLUSTER)
    elif urlsplit(settings.redis_url).path not in ("", "/", "/0"):
        needed.add("select")
    if settings.redis_durability == "disk":
        needed.add("waitaof")
    if settings.redis_durability == "replica" or settings.redis_replicas:
        needed.add("wait")
    return sorted(needed)


def acl_line(settings: Settings, user: str) -> str:
    """The user as a line of an ACL file; behind ``user`` it is what ``ACL SETUSER`` takes.

    There is no password in it, so that nobody can log in before one is added.
    """
    allowed = " ".join(f"+{command}" for command in commands(settings))
    return (
        f"user {user} on resetpass resetkeys ~{settings.redis_prefix}:* resetchannels -@all "
        f"{allowed}"
    )
