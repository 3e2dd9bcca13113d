"""What a micro-batch makes of profiles, links and markers; crashes and repetitions included."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from functools import partial
from types import SimpleNamespace
from typing import TypeAlias, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import serving.learning
from model.events import Click, Event, Forget, Identify, Purchase, Search
from model.features import Vocabulary
from model.ids import item_hash
from model.items import Item
from serving.catalog import Catalog
from serving.counts import Counts
from serving.learning import current_profile, learn, learn_waves
from serving.merge import MergedProfile, ProfileUpdate
from serving.parts import Parts
from serving.profile import Profile
from serving.store import Store
from serving.waves import in_lanes, in_waves
from tests.parts import (
    DAY_MS,
    NOW,
    FlakyStore,
    click,
    counted,
    forget,
    open_parts,
    open_store,
    purchase,
    records_of,
    search,
    take,
)
from tests.test_profile import Deed, of
from tests.test_waves import identify, placed

pytestmark = pytest.mark.either_backend

ON_A_SERVER = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NO_CATALOG = Catalog(Vocabulary([]))
NOTHING_MERGED = MergedProfile(Profile(), (False,), [], -1, True, 0, ())
Deeds: TypeAlias = Click | Purchase | Search


@pytest.fixture
async def parts(redis_url: str) -> AsyncIterator[Parts]:
    async with open_parts(redis_url, [Item(item_id="known")], kind=FlakyStore) as opened:
        yield opened


async def test_profiles_hold_what_was_learned(parts: Parts) -> None:
    bought, clicked, asked = purchase("u", "known"), click("u", "x"), search("v", "q")
    learned = await take(parts, records_of([bought, clicked, asked]))
    assert await parts.store.profile("u") == of([bought, clicked]) == learned["u"].profile
    assert await parts.store.profile("v") == of([asked]) == learned["v"].profile


async def test_unknown_items_new_users_and_repetitions_are_counted(parts: Parts) -> None:
    names = ("unknown_items", "new_users", "known_events")
    events: list[Event] = [click("u", "known"), click("u", "x"), search("v", "q"), forget("w")]

    async def change(first: int) -> list[float]:
        before = [counted(name) for name in names]
        await take(parts, records_of(events, first=first))
        return [counted(name) - value for name, value in zip(names, before, strict=True)]

    assert await change(0) == [1, 2, 0]
    assert await change(0) == [1, 0, 0], "the same records, run again"
    assert await change(10) == [1, 0, 3], "copies that the producer sent"


async def test_a_conflicting_id_is_kept_and_counted(parts: Parts) -> None:
    one = Click(event_id="e", user_id="u", ts=NOW, item_id="a")
    two = Click(event_id="e", user_id="u", ts=NOW, item_id="b")
    later = Click(event_id="e", user_id="u", ts=NOW + 1, item_id="b")
    before = counted("conflicting_ids")
    await take(parts, records_of([one, later]))
    await take(parts, records_of([one], first=2))
    assert counted("conflicting_ids") == before
    await take(parts, records_of([two, two], first=3))
    assert counted("conflicting_ids") == before + 1
    assert await parts.store.profile("u") == of([one, two, later])


async def test_nothing_to_learn_is_no_trip(parts: Parts) -> None:
    await parts.store.redis.aclose()
    assert await learn(parts, []) == {}


async def test_lanes_learn_what_one_lane_learns(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving.learning, "in_lanes", partial(in_lanes, worth_lanes=1))
    chance = random.Random(5)
    users, items = [f"u{at}" for at in range(12)], [f"i{at}" for at in range(9)]
    found = []
    for lanes in (True, False):
        chance.seed(5)
        async with open_store(redis_url, prefix=f"lanes-{lanes}") as store:
            counts = Counts(store, shards=4, half_life_days=14)
            parts = cast(Parts, SimpleNamespace(store=store, counts=counts, catalog=NO_CATALOG))
            for _ in range(8):
                of_batch = [chance.choice(users) for _ in range(20)]
                events: list[Event] = [
                    Click(
                        event_id=str(chance.random()), user_id=user,
                        ts=NOW - chance.randrange(3_600_000), item_id=chance.choice(items),
                    )
                    for user in of_batch
                ]  # fmt: skip
                some = placed(events, [users.index(user) % 4 for user in of_batch])
                if lanes:
                    assert len(in_lanes(some, 1)) == 2
                    await learn(parts, some)
                else:
                    await learn_waves(parts, in_waves(some, store.source))
            popular = await counts.popular()
            together = await counts.neighbours([item_hash(item) for item in items])
            found.append(
                (
                    [await store.profile(user) for user in users],
                    dict(zip(popular.items.tolist(), popular.weights.tolist(), strict=True)),
                    [
                        dict(zip(e.items.tolist(), e.weights.tolist(), strict=True))
                        for e in together
                    ],
                )
            )
    (profiles, popular_by_lanes, pairs_by_lanes), (others, popular_of_one, pairs_of_one) = found
    assert profiles == others
    assert popular_by_lanes == pytest.approx(popular_of_one, rel=1e-12)
    for by_lanes, of_one in zip(pairs_by_lanes, pairs_of_one, strict=True):
        assert by_lanes
        assert by_lanes == pytest.approx(of_one, rel=1e-12)


async def test_none_is_under_way_when_a_lane_has_failed(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = []

    async def break_one(updates: Sequence[ProfileUpdate]) -> list[MergedProfile]:
        if updates and updates[0].user == "u":
            raise ConnectionError("the first lane's server is gone")
        await asyncio.sleep(0.01)
        ended.append(updates)
        return [NOTHING_MERGED for _ in updates]

    monkeypatch.setattr(serving.learning, "in_lanes", partial(in_lanes, worth_lanes=1))
    monkeypatch.setattr(parts.store, "merge", break_one)
    with pytest.raises(ConnectionError, match="first lane"):
        await learn(parts, placed([click("u", "a"), click("v", "a")], (0, 1)))
    assert [update.user for updates in ended for update in updates] == ["v"]


def of_user(user_id: str, deeds: Sequence[Event]) -> list[Deeds]:
    """What a user did."""
    return [e for e in deeds if isinstance(e, Click | Purchase | Search) and e.user_id == user_id]


async def test_an_anonymous_profile_joins_the_known_one_and_later_events_follow(
    parts: Parts,
) -> None:
    before: list[Event] = [click("anon", "a", NOW - 9), search("anon", "智能手机", NOW - 8)]
    own = purchase("known", "b", NOW - 7)
    after = click("anon", "c", NOW - 2)
    await take(parts, records_of([*before, own]))
    learned = await take(parts, records_of([identify("known", "anon", NOW - 3)], first=3))
    assert learned["known"].profile == of([own]).merge(of(of_user("anon", before)).linked())
    learned = await take(parts, records_of([after], first=4))
    everything = of([own]).merge(of(of_user("anon", [*before, after])).linked())
    assert learned["anon"].profile == everything, "its lists are made from the known profile"
    assert await parts.store.profile("known") == everything
    assert (
        await current_profile(parts, "anon") == everything == await current_profile(parts, "known")
    )
    assert await parts.store.profile("anon") == of([*of_user("anon", before), after])


async def test_an_anonymous_id_of_two_users_follows_both_and_lists_come_from_the_newer(
    parts: Parts,
) -> None:
    seen = click("anon", "a", NOW - 9)
    await take(parts, records_of([seen, identify("one", "anon", NOW - 5)]))
    await take(parts, records_of([identify("two", "anon", NOW - 3), click("two", "x")], first=2))
    later = click("anon", "b", NOW - 1)
    learned = await take(parts, records_of([later], first=4))
    assert await parts.store.profile("one") == of([seen, later]).linked()
    assert learned["anon"].profile == await parts.store.profile("two")
    assert len(learned["anon"].profile.history().items) == 3


async def test_who_is_identified_as_himself_stays_himself(parts: Parts) -> None:
    seen = click("u", "a")
    await take(parts, records_of([seen, identify("u", "u"), click("u", "b")]))
    assert len((await parts.store.profile("u")).history().items) == 2
    (stored,) = await parts.store.read(["u"])
    assert stored.links == ()


async def test_forgetting_reaches_the_anonymous_id(parts: Parts) -> None:
    seen, later = click("anon", "a", NOW - 9), click("anon", "b", NOW - 1)
    await take(parts, records_of([seen, identify("known", "anon", NOW - 5)]))
    await take(parts, records_of([forget("known", NOW - 3)], first=2))
    assert await parts.store.profile("anon") == Profile() == await parts.store.profile("known")
    await take(parts, records_of([seen, identify("known", "anon", NOW - 5), later], first=3))
    assert await parts.store.profile("anon") == of([later])
    assert await parts.store.profile("known") == of([later]).linked()


deeds_and_links = st.one_of(
    st.builds(click, st.sampled_from(["anon", "known"]), st.sampled_from("abc"),
              st.integers(NOW - 9, NOW)),
    st.builds(purchase, st.just("anon"), st.sampled_from("abc"),
              st.integers(NOW - 3 * DAY_MS, NOW)),
    st.builds(search, st.sampled_from(["anon", "known"]), st.just("q"), st.integers(NOW - 9, NOW)),
    st.builds(identify, st.just("known"), st.just("anon"), st.integers(NOW - 9, NOW)),
)  # fmt: skip
things = deeds_and_links | st.builds(forget, st.just("known"), st.integers(NOW - 9, NOW))


@given(log=st.lists(things, max_size=16), seed=st.integers(0, 10**6))
@ON_A_SERVER
async def test_identify_and_forget_are_order_independent_and_survive_crashes(
    parts: Parts, log: list[Event], seed: int
) -> None:
    """One partition each, any interleaving, any crash: what both ids hold is known beforehand."""
    await parts.store.redis.flushdb()
    rng = random.Random(seed)
    await run_with_crashes(parts, rng.sample(log, len(log)), rng)

    marker = max((event.time for event in log if isinstance(event, Forget)), default=-1)
    is_linked = any(isinstance(event, Identify) for event in log)
    own, anonymous = of_user("known", log), of_user("anon", log)

    def left(deeds: Sequence[Deed]) -> Profile:
        return of([each for each in deeds if each.time > marker])

    assert await parts.store.profile("known") == left(own).merge(
        left(anonymous * is_linked).linked()
    )
    assert await parts.store.profile("anon") == (left(anonymous) if is_linked else of(anonymous))


@given(log=st.lists(deeds_and_links, max_size=16), seed=st.integers(0, 10**6))
@ON_A_SERVER
async def test_links_change_no_counts(parts: Parts, log: list[Event], seed: int) -> None:
    """Pairs are those of one id: whose events came first must not matter."""
    await parts.store.redis.flushdb()
    rng = random.Random(seed)
    counts = []
    for events in (log, [event for event in log if not isinstance(event, Identify)]):
        await parts.store.redis.flushdb()
        await run_with_crashes(parts, rng.sample(events, len(events)), rng)
        popular = await parts.counts.popular()
        near = await parts.counts.neighbours([item_hash(item) for item in "abc"])
        after = await parts.counts.chosen_after(["q"])
        counts.append(
            [
                dict(zip(each.items.tolist(), each.weights.tolist(), strict=True))
                for each in (popular, *near, *after)
            ]
        )
    assert counts[0] == [pytest.approx(each, rel=1e-9) for each in counts[1]]


async def run_with_crashes(parts: Parts, events: Sequence[Event], rng: random.Random) -> int:
    """Micro-batches of any size, some broken off; what was not acknowledged comes again."""
    store = parts.store
    assert isinstance(store, FlakyStore)
    records, start, crashes = records_of(events), 0, 0
    while start < len(records):
        end = start + rng.randrange(1, 6)
        if rng.random() < 0.5:
            function = rng.choice(["merge", "link", "count"])
            store.break_at = function, rng.randrange(3)
        try:
            await take(parts, records[start:end])
            start = end
        except ConnectionError:
            crashes += 1
        finally:
            store.break_at = None
    return crashes


async def test_the_crashes_above_do_happen(parts: Parts) -> None:
    store = parts.store
    assert isinstance(store, FlakyStore)
    records = records_of([click("anon", "a"), identify("known", "anon"), forget("known", 5)])
    for function, through in (("merge", 0), ("link", 0), ("link", 1), ("merge", 1)):
        store.break_at = function, through
        with pytest.raises(ConnectionError):
            await take(parts, records)


async def test_forgetting_holds_in_an_older_generation_taken_back(redis_url: str) -> None:
    old, new = click("u", "a", NOW - 9), click("u", "b", NOW - 1)
    async with open_parts(redis_url) as first:
        second = first.of_generation(1)
        for parts in (first, second):
            await take(parts, records_of([old]))
        assert first.store.keys("u").profile != second.store.keys("u").profile
        await take(second, records_of([forget("u", NOW - 5), new], first=1))
        # Back to the first generation, which has not seen the forget event.
        assert await first.store.profile("u") == Profile()
        learned = await take(first, records_of([old, new], first=5))
        assert learned["u"].profile == of([new]) == await first.store.profile("u")


async def test_a_secret_changes_the_keys_and_nothing_else(redis_url: str) -> None:
    async with open_store(redis_url) as plain:
        keyed = Store(plain.redis, prefix="nc", profile_ttl_ms=1, list_ttl_ms=1, secret=b"s" * 100)
        assert set(keyed.keys("u")).isdisjoint(plain.keys("u"))
        assert len(set(keyed.keys("u"))) == 3
