"""All that a prefix has in Redis, and where that of two prefixes differs: byte for byte."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from redis import Redis

from serving.profile import split_stored
from tests.chaos.differences import Differences

AT_ONCE = 500
PROFILE, COUNT = "profiles", "counts"
NOT_COMPARED = (":{generations}", ":offsets")
"""How far a build is, and what shards remember of it: another one breaks off elsewhere."""
_READ = {"string": ("GET",), "hash": ("HGETALL",), "zset": ("ZRANGE", 0, -1, "WITHSCORES")}

Stored = dict[str, dict[str, bytes]]
"""By check and name of the key, behind the prefix, a digest of what it holds."""


def stored(redis: Redis, prefix: str) -> Stored:
    """Profiles, counts, and links and markers (``identities``)."""
    found: Stored = {PROFILE: {}, COUNT: {}, "identities": {}}
    keys: list[bytes] = []
    for key in redis.scan_iter(f"{prefix}:*", count=AT_ONCE):
        keys.append(key)
        if len(keys) == AT_ONCE:
            _read(redis, prefix, keys, found)
            keys = []
    _read(redis, prefix, keys, found)
    return found


def compared(expected: Stored, actual: Stored) -> list[Differences]:
    """Where they differ: what only one has, too."""
    differences = []
    for check, names in expected.items():
        found = Differences(check)
        for name in sorted(names.keys() | actual[check].keys()):
            one, other = names.get(name), actual[check].get(name)
            found.compare(name, one and one.hex(), other and other.hex())
        differences.append(found)
    return differences


def _read(redis: Redis, prefix: str, keys: Sequence[bytes], found: Stored) -> None:
    names = {key: key.decode().removeprefix(prefix) for key in keys}
    wanted = [key for key, name in names.items() if not any(each in name for each in NOT_COMPARED)]
    kinds = _all(redis, [("TYPE", key) for key in wanted])
    commands = [_READ[kind.decode()] for kind in kinds]
    values = _all(
        redis, [(name, key, *more) for key, (name, *more) in zip(wanted, commands, strict=True)]
    )
    for key, value in zip(wanted, values, strict=True):
        check, plain = _plain(names[key], value)
        found[check][names[key]] = blake2b(repr(plain).encode(), digest_size=8).digest()


def _plain(name: str, value: Any) -> tuple[str, Any]:
    """Which check it belongs to, and what has to be the same."""
    if ":profile" in name:
        return PROFILE, split_stored(value)[0]  # the stamp behind it is a number drawn by chance
    if isinstance(value, dict):
        value = sorted(value.items())
    return (COUNT if name.startswith(":count:") else "identities"), value


def _all(redis: Redis, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    pipeline: Any = redis.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    replies: list[Any] = pipeline.execute()
    return replies
