"""A shadow's positions, what is forgotten in it, and its end."""

from collections.abc import AsyncIterator

import pytest

from model.events import Event
from serving.generations import Generations
from serving.parts import Parts
from serving.profile import Profile
from stream.replay.generations import Shadow, delete
from stream.replay.markers import forget_again
from tests.parts import NOW, click, forget, open_parts, purchase, records_of, take

SHADOW = 1
USER_KEY = b"nc:{generations}"
"""Where it is noted by which key users are hashed: that stays."""


@pytest.fixture
async def live(redis_url: str) -> AsyncIterator[Parts]:
    async with open_parts(redis_url) as parts:
        yield parts


async def shadow_of(live: Parts) -> Shadow:
    generations = Generations(live.store)
    return Shadow(live.for_past(await generations.begin()), generations)


async def test_positions_come_back_by_topic_and_by_digest(live: Parts) -> None:
    shadow = await shadow_of(live)
    shadow.parts.store.topic_identities["events"] = "its-identity"
    await shadow.keep({"events:3": 7, "files:abc": 9})
    assert await shadow.positions() == {"events:3": 7, "files:abc": 9}


async def test_positions_of_a_topic_made_anew_are_no_longer_there(live: Parts) -> None:
    shadow = await shadow_of(live)
    shadow.parts.store.topic_identities["events"] = "its-identity"
    await shadow.keep({"events:3": 7, "files:abc": 9})
    shadow.parts.store.topic_identities["events"] = "another"
    assert await shadow.positions() == {"files:abc": 9}


async def test_what_was_forgotten_is_taken_out_of_a_shadow_that_does_not_know(live: Parts) -> None:
    """As one that was built from files without the forget event, before it came."""
    shadow = live.for_past(SHADOW)
    log: list[Event] = [click("ann", "a", NOW - 99), purchase("ann", "b", NOW - 9)]
    log.append(click("bob", "a"))
    await take(shadow, records_of(log))
    await take(live, records_of([forget("ann", NOW - 50)], first=9))
    key = shadow.store.keys("ann").profile
    before = await shadow.store.redis.get(key)
    assert before is not None
    assert await forget_again(shadow.store) == 1
    after = await shadow.store.redis.get(key)
    assert after is not None and len(after) < len(before)
    kept = await shadow.store.profile("ann")
    assert kept.pack() == after[: len(kept.pack())]
    assert (await shadow.store.profile("bob")) != Profile()


async def test_a_profile_of_which_nothing_is_left_is_deleted(live: Parts) -> None:
    shadow = live.for_past(SHADOW)
    await take(shadow, records_of([click("ann", "a", NOW - 99)]))
    await take(live, records_of([forget("ann", NOW - 50)], first=9))
    await forget_again(shadow.store)
    assert await shadow.store.redis.get(shadow.store.keys("ann").profile) is None


async def test_a_drop_deletes_a_generation_and_nothing_else(live: Parts) -> None:
    shadow = live.for_past(SHADOW)
    log = records_of([click("ann", "a", NOW - 99), click("ann", "b"), click("bob", "a")])
    await take(live, log)
    kept = set(await live.store.redis.keys())
    await take(shadow, log)
    dropped = await delete(live.store, SHADOW)
    assert (dropped.profiles, dropped.counts) == (2, len(kept - {USER_KEY}) - 2)
    assert set(await live.store.redis.keys()) == kept


async def test_a_drop_takes_counts_of_an_earlier_version_along(live: Parts) -> None:
    await take(live, records_of([click("ann", "a")]))
    await live.store.redis.zadd(f"{live.store.prefix}:count:h14of4:{{0}}:with:12", {"member": 1})
    await delete(live.store, 0)
    assert await live.store.redis.keys() == [USER_KEY]


async def test_a_drop_of_the_first_generation_leaves_what_came_of_lists(live: Parts) -> None:
    await take(live, records_of([click("ann", "a", NOW - 99)]))
    sets = live.counts.sets
    own = {sets.shard_keys(0)[2], f"{live.store.prefix}:count:h14of4:{{0}}:shown"}
    for key in own:
        await live.store.redis.set(key, b"")
    await delete(live.store, 0)
    assert set(await live.store.redis.keys()) == {USER_KEY, *(key.encode() for key in own)}
