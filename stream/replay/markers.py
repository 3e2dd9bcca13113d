"""What was forgotten, forgotten again: in a generation that may not have seen the forget events."""

from serving.merge import ProfileUpdate
from serving.store import Store, identity_pattern
from stream.replay.stored_keys import stored_keys


async def forget_again(store: Store) -> int:
    """Have the server drop from every profile what is not later than the user's marker or limit.

    A profile is read without that anyway; from now on it is not stored either.

    Args:
        store: of the generation.

    Returns:
        How many users have a marker or a limit.

    Raises:
        redis.RedisError, serving.store.StoreError: Redis could not do its part; run it again.
    """
    users = 0
    async for keys in stored_keys(store.redis, identity_pattern(store.prefix)):
        digests = [store.digest_in(key) for key in keys]
        stored = await store.read(digests)
        marked = [
            ProfileUpdate(digest, forget_at=until if until >= 0 else None)
            for digest, each in zip(digests, stored, strict=True)
            for until in (each.forgotten_until,)
            if each.linked_forgotten_until >= 0
        ]
        await store.merge(marked)
        users += len(marked)
    return users
