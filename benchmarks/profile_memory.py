"""What one user takes in Redis when a profile is at all its bounds."""

import random
from pathlib import Path
from typing import Any

from benchmarks.profile_contender import open_store
from benchmarks.profile_load import START_MS, catalogue_ids, full_profile
from model.events import Click
from serving.functions import MOST_ADMISSIONS
from serving.merge import ProfileUpdate, origin
from serving.profile import Profile, pack_interaction
from serving.recommendation import AsOf, Recommendation, Recommended
from serving.store import Store
from stream.embedded_redis import EmbeddedRedis

CROWD = 1_000
LIST_LENGTH = 10
PLAIN, FORGOTTEN_ONCE = "plain", "forgotten once"


async def memory_per_user(binary: Path | None) -> dict[str, int]:
    """Bytes of the keys of a user, as ``MEMORY USAGE`` has them, on a fresh server.

    Args:
        binary: of the server; None for Valkey.

    Returns:
        ``bytes_per_user``: profile with as many admissions as are kept, and forget marker.
        ``without_marker_bytes``: the same without a marker. ``last_list_bytes``: the last list of
        ten items, which comes on top for as long as it can be looked up.
        ``used_memory_per_user``: what the whole server grows by for each of a crowd of full
        profiles, the tables of keys and lifetimes included.
    """
    items, _ = catalogue_ids()
    profile = full_profile(random.Random(0), items)
    with EmbeddedRedis(binary=binary) as server:
        store = open_store(server.url, "nextclick")
        try:
            await store.open()
            await store.merge([ProfileUpdate(FORGOTTEN_ONCE, forget_at=1)])
            for user in (PLAIN, FORGOTTEN_ONCE):
                await _fill(store, user, profile)
            await store.keep([_last_list(PLAIN, items)])
            plain, marked = store.keys(PLAIN), store.keys(FORGOTTEN_ONCE)
            stored: Any = await store.redis.get(plain.profile)
            return {
                "bytes_per_user": await _usage(store, marked.profile, marked.identity),
                "without_marker_bytes": await _usage(store, plain.profile, plain.identity),
                "stored_bytes": len(stored),
                "packed_minimum_bytes": len((await store.profile(PLAIN)).pack()),
                "last_list_bytes": await _usage(store, plain.last_list),
                "used_memory_per_user": await _growth(store, profile),
            }
        finally:
            await store.redis.aclose()


async def _fill(store: Store, user: str, profile: Profile) -> None:
    await store.merge([ProfileUpdate(user, others=profile)])
    update = ProfileUpdate(user)
    for at in range(MOST_ADMISSIONS):
        click = Click(event_id=f"click-{at}", user_id=user, ts=START_MS + at, item_id="1")
        update.events.append(pack_interaction(click))
        update.origins.append(origin("events:0", at))
    await store.merge([update])


def _last_list(user: str, items: list[str]) -> Recommendation:
    return Recommendation(
        rec_id="0" * 32,
        user_id=user,
        event_id="event-1234567890",
        ts=START_MS,
        as_of=AsOf("events", 0, 1_000_000),
        bundle="0123456789ab",
        items=tuple(
            Recommended(item, rank, 0.123456, ("together", "popular"), f"Because of {item}", item)
            for rank, item in enumerate(items[:LIST_LENGTH], start=1)
        ),
        step_ms={"decode": 1.234, "profiles": 1.234, "candidates": 1.234, "rank": 1.234},
    )


async def _usage(store: Store, *keys: str) -> int:
    usages: list[Any] = [await store.redis.memory_usage(key) for key in keys]
    return sum(usage or 0 for usage in usages)


async def _growth(store: Store, profile: Profile) -> int:
    before: dict[str, Any] = await store.redis.info("memory")
    for number in range(CROWD):
        key = store.keys(f"crowd-{number}").profile
        await store.redis.set(key, profile.pack(), px=store.profile_ttl_ms)
    after: dict[str, Any] = await store.redis.info("memory")
    return int(after["used_memory"] - before["used_memory"]) // CROWD
