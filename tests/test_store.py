"""The server merges as the profile's own arithmetic does, atomically, and forgets for good."""

import random
from collections.abc import AsyncIterator, Sequence
from itertools import count
from struct import unpack as unpack_header
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from redis.asyncio import Redis
from redis.crc import key_slot

from model.events import INTERACTION_KINDS, Forget, Interaction, Purchase, Search, User
from model.traits import pack_traits
from serving.functions import MOST_ADMISSIONS, library_text
from serving.merge import ORIGIN_BYTES, MergedProfile, ProfileUpdate, origin
from serving.profile import (
    IDENTITY_BYTES,
    LINKED,
    SECTIONS,
    VERSION,
    Profile,
    ProfileError,
    pack_interaction,
    pack_query,
)
from serving.recommendation import AsOf, Recommendation
from serving.round_trip import RedisClient
from serving.store import Store, StoreError
from tests.parts import DAY_MS, NOW, click, open_store, search
from tests.test_profile import Deed, cuts, in_batches, logs, long_log, of

pytestmark = pytest.mark.either_backend

_user = count()
ON_A_SERVER = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    async with open_store(redis_url) as opened:
        yield opened


def new_user() -> str:
    """A user nobody has heard of, so that each example starts from nothing."""
    return f"user {next(_user)}"


def update_of(
    user_id: str, events: Sequence[Deed | Forget], first_offset: int = 0
) -> ProfileUpdate:
    """What a micro-batch with these events asks of the store."""
    update = ProfileUpdate(user_id)
    for offset, event in enumerate(events, start=first_offset):
        match event:
            case Forget():
                update.forget_at = max(event.time, update.forget_at or 0)
            case User():
                pass
            case _:
                update.events.append(packed(event))
                update.origins.append(origin("events:0", offset))
        update.others = update.others.merge(Profile(traits=pack_traits(event)))
    return update


def packed(event: Interaction | Search) -> bytes:
    """The record of an interaction or a query."""
    return pack_query(event) if isinstance(event, Search) else pack_interaction(event)


async def merge(
    store: Store, user_id: str, events: Sequence[Deed | Forget], first_offset: int = 0
) -> MergedProfile:
    merged: MergedProfile | None = None
    is_new: list[bool] = []
    for start in range(0, max(1, len(events)), MOST_ADMISSIONS):
        some = events[start : start + MOST_ADMISSIONS]
        (merged,) = await store.merge([update_of(user_id, some, first_offset + start)])
        is_new += merged.is_new
    assert merged is not None
    return msgspec.structs.replace(merged, is_new=tuple(is_new))


async def stored(store: Store, user_id: str) -> bytes | None:
    """The profile in Redis, without the admissions behind it."""
    value: Any = await store.redis.get(store.keys(user_id).profile)
    if value is None:
        return None
    _, *sizes = unpack_header(">BBBHB", value[:6])
    return bytes(value[: 6 + sum(n * s.width for n, s in zip(sizes, SECTIONS, strict=True))])


def arrived(merged: MergedProfile) -> list[bytes]:
    """Time and event id hash of the admissions that may not be counted yet."""
    return [each[ORIGIN_BYTES:] for each in merged.arrivals]


async def a_list(store: Store, user_id: str, offset: int, ts: int = NOW) -> Recommendation:
    """Keep an empty list of that place and time."""
    made = Recommendation(
        rec_id=f"r{offset}",
        user_id=user_id,
        event_id="e",
        ts=ts,
        as_of=AsOf("events", 0, offset),
        bundle="b",
        items=(),
        step_ms={},
    )
    await store.keep([made])
    return made


@given(log=logs, cuts=cuts)
@ON_A_SERVER
async def test_the_server_merges_as_python_does(
    store: Store, log: list[Deed], cuts: list[int]
) -> None:
    user, expected = new_user(), Profile()
    for batch in in_batches(log, cuts):
        expected = expected.merge(of(batch))
        assert (await merge(store, user, batch)).profile == expected
    assert await stored(store, user) == (expected.pack() if any(expected) else None)
    assert await store.profile(user) == expected


@pytest.mark.parametrize("seed", range(3))
async def test_is_order_independent_and_survives_redelivery_far_over_the_bounds(
    store: Store, seed: int
) -> None:
    log, rng, values = long_log(seed), random.Random(seed), set()
    for _ in range(3):
        user = new_user()
        shuffled = rng.sample(log, len(log))
        for batch in [*in_batches(shuffled, [rng.randrange(700) for _ in range(30)]), log[:50]]:
            await merge(store, user, batch)
        values.add(await stored(store, user))
    assert values == {of(log).pack()}


async def test_a_full_profile_takes_at_most_6_kb(store: Store) -> None:
    user = new_user()
    queries = [search("u", "长" * 100, NOW - at) for at in range(20)]
    await merge(store, user, [*long_log(0), *queries])
    taken = await store.redis.memory_usage(store.keys(user)[0])
    assert taken is not None
    value: Any = await store.redis.get(store.keys(user).profile)
    # What Redis allots 5,120 bytes to, with 5 in front and 1 behind.
    assert 4_886 < len(value) <= 5_114
    # The value alone has 4,886 bytes, and up to 208 of admissions and stamp.
    assert 4_905 < taken <= 5_400


async def test_users_of_one_trip_do_not_touch_each_other(store: Store) -> None:
    users = [new_user() for _ in range(50)]
    logs = [[click("u", f"item {at}")] * (at % 3) for at in range(50)]
    merged = await store.merge([update_of(u, log) for u, log in zip(users, logs, strict=True)])
    assert [each.profile for each in merged] == [of(log) for log in logs]
    assert [await store.profile(user) for user in users] == [of(log) for log in logs]
    assert await store.merge([]) == []


async def test_new_is_what_the_profile_did_not_have(store: Store) -> None:
    user, one, two = new_user(), click("u", "a"), click("u", "b")
    merged = await merge(store, user, [one, two, one], first_offset=10)
    assert merged.is_new == (True, True, False)
    assert arrived(merged) == [packed(one)[:IDENTITY_BYTES], packed(two)[:IDENTITY_BYTES]]
    assert not merged.was_known
    merged = await merge(store, user, [two, click("u", "c")], first_offset=13)
    assert merged.is_new == (False, True)
    assert merged.was_known


async def test_what_is_below_the_full_window_is_not_new(store: Store) -> None:
    user = new_user()
    await merge(store, user, [click("u", f"i{at}", NOW - at) for at in range(100)])
    before = await stored(store, user)
    assert (await merge(store, user, [click("u", "late", NOW - 100)], 100)).is_new == (False,)
    assert await stored(store, user) == before
    assert (await merge(store, user, [click("u", "new", NOW + 1)], 101)).is_new == (True,)


async def test_a_record_that_comes_again_gets_the_same_answer(store: Store) -> None:
    user = new_user()
    events = [click("u", f"i{at}", NOW + at) for at in range(4)]
    await merge(store, user, events[:1], 0)
    first = await merge(store, user, events[1:], 1)
    again = await merge(store, user, events[1:], 1)
    assert first.is_new == again.is_new == (True, True, True)
    assert first.arrivals == again.arrivals
    # Cut in another way, and with what an earlier call had brought before them.
    part = await merge(store, user, events[:3], 0)
    assert part.is_new == (False, True, True)
    assert part.arrivals == first.arrivals, "of which the last came after these two"
    rest = await merge(store, user, [events[3], click("u", "more")], 3)
    assert rest.is_new == (True, True)
    # A copy that the producer sent is another record.
    assert (await merge(store, user, events, 20)).is_new == (False,) * 4


async def test_a_newer_format_is_refused_and_not_overwritten(store: Store) -> None:
    user = new_user()
    key = store.keys(user)[0]
    newer = bytes((VERSION + 1,)) + b"what only the future can read"
    await store.redis.set(key, newer)
    with pytest.raises(StoreError, match=r"newer format.*upgrade"):
        await merge(store, user, [click("u", "a")])
    with pytest.raises(StoreError, match="upgrade"):
        await store.profile(user)
    assert await store.redis.get(key) == newer


@pytest.mark.parametrize(
    "damage",
    [b"", b"\x02", b"\x02\x02\x00\x00\x00half", b"\x02\0\0\0\0?", b"\x01\0\0\0\0"],
)
async def test_a_damaged_profile_is_refused_and_named(store: Store, damage: bytes) -> None:
    user = new_user()
    key = store.keys(user)[0]
    await store.redis.set(key, damage)
    with pytest.raises(ProfileError, match=f"DAMAGED.*delete the key {key}"):
        await merge(store, user, [click("u", "a")])
    assert await store.redis.get(key) == damage


async def test_a_profile_lives_as_long_as_it_was_told(store: Store) -> None:
    user, event = new_user(), click("u", "a")
    key = store.keys(user)[0]
    await merge(store, user, [event])
    await store.redis.pexpire(key, 1000)
    await merge(store, user, [event])
    assert await store.redis.pttl(key) > 29 * DAY_MS, "each event renews it"


async def test_lost_functions_are_loaded_again(store: Store) -> None:
    await store.redis.function_flush()
    user, event = new_user(), click("u", "a")
    assert (await merge(store, user, [event])).is_new == (True,)
    assert await store.profile(user) == of([event])


async def test_versions_run_side_by_side(store: Store) -> None:
    other = "#!lua name=nextclick_other\nredis.register_function('x', function() return 1 end)"
    await store.redis.function_load(other)
    await store.open()
    names = {library[b"library_name"] for library in await libraries(store.redis)}
    assert names == {store.functions.name.encode(), b"nextclick_other"}


async def libraries(redis: RedisClient) -> list[dict[bytes, bytes]]:
    """What FUNCTION LIST says, each library as a mapping."""
    listed = await redis.function_list()
    return [dict(zip(each[::2], each[1::2], strict=True)) for each in listed]


async def test_a_user_without_functions_is_told_what_is_missing(
    store: Store, redis_url: str
) -> None:
    await store.redis.acl_setuser(
        "limited",
        enabled=True,
        nopass=True,
        categories=["+@all"],
        commands=["-function"],
        keys=["*"],
    )
    limited = Redis.from_url(redis_url.replace("redis://", "redis://limited:x@"), protocol=2)
    try:
        lame = Store(limited, prefix="nc", profile_ttl_ms=1, list_ttl_ms=1)
        with pytest.raises(StoreError, match=r"Redis 7 or later.*FUNCTION LOAD"):
            await lame.open()
    finally:
        await limited.aclose()
        await store.redis.acl_deluser("limited")


async def test_the_last_list_is_the_newest(store: Store) -> None:
    user = new_user()
    assert await store.last_list(user) is None
    await a_list(store, user, 5)
    newest = await a_list(store, user, 12)
    await a_list(store, user, 9)
    assert await store.last_list(user) == newest
    assert 0 < await store.redis.pttl(store.keys(user)[2]) <= 3 * DAY_MS


@pytest.mark.parametrize("user_id", ["u", "{u}", "a}b{c", "用户", "🙂" * 64, " ", "\0"])
def test_the_keys_of_a_user_share_a_hash_slot(user_id: str) -> None:
    keys = Store(Redis(), prefix="nc", profile_ttl_ms=1, list_ttl_ms=1).keys(user_id)
    assert len(set(keys)) == 3
    assert len({key_slot(key.encode()) for key in keys}) == 1
    assert all(key.isascii() and user_id not in key.removeprefix("nc") for key in keys)


def test_records_have_distinct_origins() -> None:
    places = [("events:0", 1), ("events:0", 2), ("events:1", 1), ("other:0", 1)]
    assert len({origin(*place) for place in places}) == 4
    assert {len(origin(*place)) for place in places} == {ORIGIN_BYTES}


def test_the_server_knows_a_purchase_by_its_number() -> None:
    code = library_text()
    assert f"local PURCHASE = {INTERACTION_KINDS[Purchase]}\n" in code
    assert f"local ORIGIN = {ORIGIN_BYTES}\n" in code
    assert f"local LINKED = {LINKED}\n" in code
