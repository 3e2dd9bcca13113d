"""A forget event erases at once and for good, whatever order events come in."""

import random
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.events import Forget
from serving.profile import PURCHASES, Profile, pack_interaction, pack_purchase, unpack
from serving.store import Store
from tests.parts import DAY_MS, NOW, click, forget, open_store, purchase, search
from tests.test_profile import Deed, logs, long_log, of
from tests.test_store import ON_A_SERVER, a_list, merge, new_user, stored

pytestmark = pytest.mark.either_backend


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    async with open_store(redis_url) as opened:
        yield opened


@given(log=logs, forgets=st.lists(st.integers(NOW - 3 * DAY_MS, NOW), max_size=3), data=st.data())
@ON_A_SERVER
async def test_forgetting_is_order_independent(
    store: Store, log: list[Deed], forgets: list[int], data: st.DataObject
) -> None:
    events: list[Deed | Forget] = data.draw(
        st.permutations([*log, *(forget("u", ts) for ts in forgets)])
    )
    user, marker = new_user(), max(forgets, default=-1)
    merged = None
    for event in events:
        merged = await merge(store, user, [event])
    kept = of([each for each in log if each.time > marker])
    assert (await stored(store, user) or Profile().pack()) == kept.pack()
    assert merged is None or (merged.profile, merged.forgotten_until) == (kept, marker)


@pytest.mark.parametrize("seed", range(3))
async def test_forgetting_is_order_independent_far_over_the_bounds(store: Store, seed: int) -> None:
    """Over 100 interactions the purchases of the marker's own day are those of the window."""
    log, rng = long_log(seed), random.Random(seed)
    marker = sorted(each.time for each in log)[rng.randrange(300, 500)]
    values = set()
    for _ in range(3):
        user = new_user()
        events = rng.sample([*log, forget("u", marker)], len(log) + 1)
        for start in range(0, len(events), 7):
            await merge(store, user, events[start : start + 7])
        values.add(await stored(store, user))
    assert len(values) == 1
    left, kept = unpack(values.pop()), of([each for each in log if each.time > marker])
    assert left._replace(purchases=b"") == kept._replace(purchases=b"")
    assert purchases_of(left) <= purchases_of(kept)
    marker_day = (marker // DAY_MS).to_bytes(2, "big")
    assert all(each.startswith(marker_day) for each in purchases_of(kept) - purchases_of(left))


def purchases_of(profile: Profile) -> set[bytes]:
    """The purchases of a profile, as packed."""
    packed = profile.purchases
    return {packed[at : at + PURCHASES.width] for at in range(0, len(packed), PURCHASES.width)}


async def test_forget_erases_everything_at_once_and_for_good(store: Store) -> None:
    user = new_user()
    old: list[Deed] = [purchase("u", "a", NOW - 5), search("u", "q", NOW - 5)]
    await merge(store, user, old)
    await a_list(store, user, 1, NOW - 5)
    merged = await merge(store, user, [forget("u", NOW)])
    profile, identity, last_list = store.keys(user)
    assert await store.redis.exists(profile, last_list) == 0
    assert merged.forgotten_until == NOW
    assert await store.redis.ttl(identity) == -1, "kept without expiry"
    assert merged.profile == Profile()
    # Neither a replay nor a worker woken from the dead brings anything back.
    assert (await merge(store, user, old)).is_new == (False, False)
    await a_list(store, user, 2, NOW)
    assert await store.redis.exists(profile, last_list) == 0
    # An older forget event, delivered late, takes nothing more.
    later = click("u", "b", NOW + 1)
    await merge(store, user, [later])
    await merge(store, user, [forget("u", NOW - 3)])
    assert await store.profile(user) == of([later])


async def test_forget_and_later_events_in_one_batch(store: Store) -> None:
    before, after = click("u", "a", NOW - 1), click("u", "b", NOW + 1)
    merged = await merge(store, new_user(), [before, after, forget("u", NOW)])
    assert merged.profile == of([after])
    assert merged.is_new == (False, True)
    assert merged.forgotten_until == NOW


NOON = NOW // DAY_MS * DAY_MS + DAY_MS // 2


async def test_purchases_of_the_forgotten_day(store: Store) -> None:
    user = new_user()
    before = purchase("u", "milk", NOON - 1)
    after = purchase("u", "bread", NOON + 1)
    await merge(store, user, [before, after])
    merged = await merge(store, user, [forget("u", NOON)])
    assert merged.profile.purchases == pack_purchase(pack_interaction(after))


@pytest.mark.parametrize(
    "later", [click("u", "milk", NOON + 1), purchase("u", "milk", NOON + DAY_MS)]
)
async def test_a_later_deed_with_the_same_item_does_not_prove_a_forgotten_purchase(
    store: Store, later: Deed
) -> None:
    user = new_user()
    merged = await merge(store, user, [purchase("u", "milk", NOON - 1), later])
    forgotten = pack_purchase(pack_interaction(purchase("u", "milk", NOON)))
    assert forgotten in purchases_of(merged.profile)
    merged = await merge(store, user, [forget("u", NOON)])
    assert merged.profile == of([later])
