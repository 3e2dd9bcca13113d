"""The key of user hashes is the same in every process: under another one all users are strangers.

The first process that opens an installation writes down by what its key is known; whoever comes
with another one is refused, before profiles of both lie side by side and forgotten users come back.
"""

from hashlib import blake2b

from serving.round_trip import Acknowledgement, Command, RedisClient, StoreError, round_trip

FINGERPRINT_BYTES = 8
_UNKEYED = "none"
_LOOK = "return redis.call('HGET', KEYS[1], 'user_key')"
_SETTLE = """
redis.call('HSETNX', KEYS[1], 'user_key', ARGV[1])
return redis.call('HGET', KEYS[1], 'user_key')
"""


async def require_user_key(redis: RedisClient, prefix: str, key: bytes) -> None:
    """Return where this installation's users are hashed with this key.

    Args:
        redis: a client that returns bytes.
        prefix: of the installation's keys.
        key: empty where there is none.

    Raises:
        StoreError: they are hashed with another one, or with none.
        redis.RedisError: Redis is away.
    """
    own = blake2b(key=key, digest_size=FINGERPRINT_BYTES).hexdigest() if key else _UNKEYED
    noted_at = f"{prefix}:{{generations}}"
    # Whoever may only read finds what others have settled.
    held = await _asked(redis, ("EVAL_RO", _LOOK, 1, noted_at))
    held = held or await _asked(redis, ("EVAL", _SETTLE, 1, noted_at, own))
    if held != own:
        theirs = "without a key" if held == _UNKEYED else "with another key"
        raise StoreError(
            f"the user ids under `{prefix}:` in Redis are hashed {theirs}; give this process the "
            "NEXTCLICK_USER_HASH_SECRET of the others, or begin anew under another "
            "NEXTCLICK_REDIS_PREFIX (docs/security.md)"
        )


async def _asked(redis: RedisClient, command: Command) -> str | None:
    (reply,) = await round_trip(redis, [command], Acknowledgement())
    if isinstance(reply, Exception):
        raise reply
    return None if reply is None else str(reply, "ascii")
