"""Profiles in hand: what a worker proposes is stored only where nothing else has happened, and no
answer tells a worker with a cache from one without."""

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from model.events import Click, Purchase
from serving.functions import STAMP_BYTES, FunctionLibrary, library_text
from serving.merge import Link, MergedProfile, ProfileUpdate, origin
from serving.profile import INTERACTIONS, PURCHASES, QUERIES, Profile
from serving.store import Store
from tests.parts import DAY_MS, MINUTE_MS, NOW, FlakyStore, click, counted, purchase
from tests.test_profile import MAKERS, Deed, cuts, in_batches, logs, of
from tests.test_store import new_user, packed, update_of

pytestmark = pytest.mark.either_backend


def a_worker(
    redis: Redis, cached: int = 100, kind: type[Store] = Store, text: str | None = None
) -> Store:
    return kind(
        redis,
        prefix="nc",
        profile_ttl_ms=30 * DAY_MS,
        list_ttl_ms=DAY_MS,
        cached_profiles=cached,
        functions=FunctionLibrary(text=text),
    )


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_url, protocol=2)
    await a_worker(client).open()
    yield client
    await client.aclose()


class Shopper:
    """A user whose events come in one after the other, each with the next offset."""

    def __init__(self) -> None:
        self.user_id = new_user()
        self.log: list[Deed] = []

    async def does(self, store: Store, *deeds: Deed) -> MergedProfile:
        """Merge these events through a store, in one update."""
        update = update_of(self.user_id, deeds, first_offset=len(self.log))
        self.log += deeds
        (merged,) = await store.merge([update])
        return merged

    async def clicks(self, store: Store) -> MergedProfile:
        """One more event, newer than all before it."""
        return await self.does(store, click("u", f"i{len(self.log)}", NOW + len(self.log)))


def held() -> float:
    """How many proposals were stored."""
    return counted("merges", profile="held")


async def test_events_in_order_need_no_stored_profile(redis: Redis) -> None:
    store, shopper = a_worker(redis), Shopper()
    before = held()
    for _ in range(5):
        merged = await shopper.clicks(store)
        assert merged.profile == of(shopper.log) == await store.profile(shopper.user_id)
    assert held() - before == 4
    assert await redis.pttl(store.keys(shopper.user_id).profile) > 29 * DAY_MS


async def test_full_profiles_lose_their_oldest(redis: Redis) -> None:
    store, shopper, rng = a_worker(redis), Shopper(), random.Random(1)
    before = held()
    for at in range(400):
        ts = NOW + at * 7 * MINUTE_MS
        make = rng.choice(MAKERS)
        # Few items: some are bought twice on a day.
        await shopper.does(store, make("u", f"item {rng.randrange(40)}", ts))
    profile = await store.profile(shopper.user_id)
    assert profile == of(shopper.log)
    assert len(profile.interactions) == INTERACTIONS.bound * INTERACTIONS.width
    assert len(profile.queries) == QUERIES.bound * QUERIES.width
    assert len(profile.purchases) // PURCHASES.width < sum(type(e) is Purchase for e in shopper.log)
    assert held() - before == 399


async def test_the_longer_memory_of_purchases_is_bounded(redis: Redis) -> None:
    store, shopper = a_worker(redis), Shopper()
    for at in range(320):
        await shopper.does(store, purchase("u", f"item {at}", NOW + at * DAY_MS))
    assert await store.profile(shopper.user_id) == of(shopper.log)
    assert len((await store.profile(shopper.user_id)).purchases) == 280 * PURCHASES.width


@given(log=logs, cuts=cuts, data=st.data())
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_answers_are_those_of_a_worker_without_a_cache(
    redis: Redis, log: list[Deed], cuts: list[int], data: st.DataObject
) -> None:
    """Two workers take turns at one user as they like; a third does all for another user."""
    workers = [a_worker(redis), a_worker(redis)]
    plain = a_worker(redis, cached=0)
    one, other = new_user(), new_user()
    if data.draw(st.booleans(), label="in order"):
        log = sorted(log, key=lambda each: (each.time, of([each])))
    again = data.draw(st.lists(st.integers(0, 40), max_size=5))
    start = 0
    for batch in in_batches(log, cuts):
        batch = batch[:10]
        worker = data.draw(st.sampled_from(workers))
        for _ in range(2 if start in again else 1):
            (ours,) = await worker.merge([update_of(one, batch, start)])
            (theirs,) = await plain.merge([update_of(other, batch, start)])
            assert ours == theirs
        start += len(batch)
    assert await plain.profile(one) == await plain.profile(other)


async def test_another_worker_s_events_are_kept(redis: Redis) -> None:
    one, other, shopper = a_worker(redis), a_worker(redis), Shopper()
    before = counted("merges", profile="refused")
    for store in (one, other, one, one, other, one):
        merged = await shopper.clicks(store)
        assert merged.profile == of(shopper.log)
        assert merged.is_new == (True,)
    assert counted("merges", profile="refused") - before == 3
    assert await one.profile(shopper.user_id) == of(shopper.log)


async def test_without_a_look_at_the_stamp_they_would_be_lost(redis: Redis) -> None:
    sound = "redis.call('GETRANGE', keys[1], -STAMP, -1) == held"
    assert library_text().count(sound) == 1
    one = a_worker(redis, text=library_text().replace(sound, "true"))
    other, shopper = a_worker(redis), Shopper()
    await one.open()
    for store in (one, other, one):
        await shopper.clicks(store)
    assert await one.profile(shopper.user_id) == of([shopper.log[0], shopper.log[2]])


async def test_a_forget_event_of_another_worker_holds(redis: Redis) -> None:
    one, other, shopper = a_worker(redis), a_worker(redis), Shopper()
    await shopper.clicks(one)
    await other.merge([ProfileUpdate(shopper.user_id, forget_at=NOW + 1)])
    late = Click(event_id="late", user_id="u", ts=NOW + 1, item_id="late")
    merged = await shopper.does(one, late)
    assert merged.forgotten_until == NOW + 1
    assert merged.profile == await one.profile(shopper.user_id) == Profile()
    newer = click("u", "newer", NOW + 2)
    assert (await shopper.does(one, newer)).profile == of([newer])
    assert len(one.cache) == 0


async def test_a_link_is_heard_of_at_the_next_event(redis: Redis) -> None:
    one, other, shopper = a_worker(redis), a_worker(redis), Shopper()
    await shopper.clicks(one)
    await other.link(shopper.user_id, other.digest("known"), NOW)
    merged = await shopper.clicks(one)
    assert merged.links == (Link(True, NOW, other.digest("known")),)
    assert merged.profile == of(shopper.log)


@pytest.mark.parametrize("others", [b"", b"old"])
async def test_what_a_failover_lost_is_not_taken_for_granted(redis: Redis, others: bytes) -> None:
    """The value of an hour ago, or none, stands where the worker has left a newer one."""
    store, shopper = a_worker(redis), Shopper()
    key = store.keys(shopper.user_id).profile
    await shopper.clicks(store)
    earlier: Any = await redis.get(key)
    lost = len(shopper.log)
    for _ in range(3):
        await shopper.clicks(store)
    await (redis.set(key, earlier) if others else redis.delete(key))
    merged = await shopper.clicks(store)
    kept = [*(shopper.log[:lost] if others else []), shopper.log[-1]]
    assert merged.profile == await store.profile(shopper.user_id) == of(kept)
    assert merged.was_known == bool(others)


async def test_a_trip_whose_answer_was_lost_is_run_again(redis: Redis) -> None:
    store = a_worker(redis, kind=FlakyStore)
    assert isinstance(store, FlakyStore)
    shopper = Shopper()
    await shopper.clicks(store)
    again = update_of(shopper.user_id, [click("u", "b", NOW + 9)], first_offset=7)
    store.break_at = "merge", 1
    with pytest.raises(ConnectionError):
        await store.merge([again])
    assert len(store.cache) == 0
    (merged,) = await store.merge([again])
    assert merged.is_new == (True,)
    assert [each[:10] for each in merged.arrivals][-1] == origin("events:0", 7)
    assert held() and (await store.merge([again]))[0].is_new == (True,)


async def test_two_updates_of_a_user_in_one_trip(redis: Redis) -> None:
    store, shopper = a_worker(redis), Shopper()
    await shopper.clicks(store)
    events = [click("u", f"then {at}", NOW + 100 + at) for at in range(4)]
    updates = [update_of(shopper.user_id, [e], 100 + at) for at, e in enumerate(events)]
    merged = await store.merge(updates)
    shopper.log += events
    assert [each.is_new for each in merged] == [(True,)] * 4
    assert merged[-1].profile == of(shopper.log) == await store.profile(shopper.user_id)
    more = await shopper.does(store, click("u", "last", NOW + 200))
    assert more.profile == of(shopper.log)


async def test_an_id_with_another_content_is_counted(redis: Redis) -> None:
    store, shopper = a_worker(redis), Shopper()
    twins = sorted(
        (Click(event_id="e", user_id="u", ts=NOW, item_id=item) for item in "ab"), key=packed
    )
    assert (await shopper.does(store, twins[0])).conflicts == 0
    before = held()
    assert (await shopper.does(store, twins[1])).conflicts == 1
    assert held() == before + 1


async def test_the_cache_is_bounded(redis: Redis) -> None:
    store = a_worker(redis, cached=3)
    shoppers = [Shopper() for _ in range(5)]
    for shopper in shoppers:
        await shopper.clicks(store)
    assert len(store.cache) == 3
    before = held()
    for shopper in reversed(shoppers):
        merged = await shopper.clicks(store)
        assert merged.profile == of(shopper.log)
    assert held() - before == 3
    assert len(a_worker(redis, cached=0).cache) == 0


async def test_a_value_from_before_there_were_stamps_is_read(redis: Redis) -> None:
    store, shopper = a_worker(redis), Shopper()
    await shopper.clicks(store)
    key = store.keys(shopper.user_id).profile
    value: Any = await redis.get(key)
    await redis.set(key, value[:-STAMP_BYTES])
    other = a_worker(redis)
    assert await other.profile(shopper.user_id) == of(shopper.log)
    for _ in range(2):
        merged = await shopper.clicks(other)
        assert merged.profile == of(shopper.log)
    stamped: Any = await redis.get(key)
    assert (len(stamped) - len(merged.profile.pack()) - STAMP_BYTES) % 20 == 0
