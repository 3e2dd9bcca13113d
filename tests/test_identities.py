"""Anonymous ids of several users, some of them forgotten: live, however it came about, and replayed
alike. What profiles have to be is told by the set of events alone."""

import random
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.events import Click, Event, User
from serving.identities import Deeds, hand_up
from serving.merge import Link, ProfileUpdate
from serving.parts import Parts
from serving.profile import SECTIONS, Profile, pack_interaction
from stream.replay.markers import forget_again
from tests.linked_ids import (
    IDS,
    RestlessStore,
    expected,
    held,
    live_through,
    live_through_side_by_side,
    partitioned,
    profiles_in,
    replayed,
    shuffled,
)
from tests.parts import (
    DAY_MS,
    NOW,
    click,
    forget,
    open_parts,
    purchase,
    records_of,
    search,
    take,
)
from tests.past_logs import are_equal, counts_in
from tests.test_profile import Deed, of
from tests.test_waves import identify

pytestmark = pytest.mark.either_backend

ON_A_SERVER = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
async def parts(redis_url: str) -> AsyncIterator[Parts]:
    async with open_parts(redis_url, kind=RestlessStore) as opened:
        yield opened


def time_of(event: Event) -> int:
    return event.time


TABLET: list[Event] = [
    click("tablet", "a", NOW - 90),
    purchase("tablet", "b", NOW - 80),
    search("tablet", "q", NOW - 70),
    User(event_id="u", user_id="tablet", ts=NOW - 68, attributes={"age": "30-39"}),
]
ANA: list[Event] = [identify("ana", "tablet", NOW - 65), click("ana", "c", NOW - 60)]
OF_BO = purchase("bo", "d", NOW - 50)
BO: list[Event] = [identify("bo", "tablet", NOW - 55), OF_BO]
FORGET: list[Event] = [forget("ana", NOW - 30)]
LATE = click("tablet", "e", NOW - 20)


@pytest.mark.parametrize(
    "log",
    [
        [*TABLET, *ANA, *BO, *FORGET, LATE],
        [*TABLET, *ANA, *FORGET, *BO, LATE],
        [*TABLET, *BO, *FORGET, *ANA, LATE],
        [*FORGET, *ANA, *TABLET, *BO, LATE],
        [*BO, *ANA, LATE, *FORGET, *TABLET],
    ],
    ids=["both before", "bo after", "ana after", "forgotten first", "tablet last"],
)
async def test_a_shared_tablet_one_of_whose_users_is_forgotten(
    parts: Parts, log: list[Event]
) -> None:
    """What was done on it up to then is nobody's any more; what bo did under his own id is his."""
    await live_through(parts, log)
    live = await held(parts)
    assert profiles_in(live) == {
        "ana": of([LATE]).linked(),
        "bo": of([OF_BO]).merge(of([LATE]).linked()),
        "tablet": of([LATE]),
        "web": Profile(),
    }
    for generation, events in enumerate((log, log[::-1], sorted(log, key=time_of)), start=1):
        assert await replayed(parts, generation, events) == live
    await live_through(parts, log)
    assert await held(parts) == live, "delivered again"


async def test_forgetting_an_anonymous_id_takes_back_what_its_users_have_taken_over(
    parts: Parts,
) -> None:
    await live_through(parts, [*TABLET, *BO, forget("tablet", NOW - 30), LATE, *TABLET])
    assert await parts.store.profile("tablet") == of([LATE])
    assert await parts.store.profile("bo") == of([OF_BO]).merge(of([LATE]).linked())


async def test_two_ids_that_are_each_other_have_their_links_in_one_order(parts: Parts) -> None:
    log: list[Event] = [identify("ana", "bo"), identify("bo", "ana"), *TABLET, *BO]
    found = []
    for events in (log, log[::-1]):
        await parts.store.redis.flushdb()
        await live_through(parts, events)
        found.append(await held(parts))
    assert found[0] == found[1]


ids = st.sampled_from(IDS)
times = st.integers(NOW - 9, NOW)
some_days = st.integers(NOW - 3 * DAY_MS, NOW)
deeds = st.one_of(
    st.builds(click, ids, st.sampled_from("abc"), times),
    st.builds(purchase, ids, st.sampled_from("ab"), some_days | times),
    st.builds(
        User, event_id=st.just("u"), user_id=ids, ts=times,
        attributes=st.dictionaries(st.sampled_from("ab"), st.integers(0, 3), max_size=2),
    ),
)  # fmt: skip
searches = st.builds(search, ids, st.just("q"), times)
identified = st.builds(identify, ids, ids, times)
forgotten = st.builds(forget, ids, some_days | times)
# Rings double what they hold, and nothing may be more than a section holds.
linked_logs = st.tuples(
    st.lists(deeds, max_size=10), st.lists(searches, max_size=4), st.lists(identified, max_size=6)
).map(lambda each: [*each[0], *each[1], *each[2]])
logs = st.tuples(linked_logs, st.lists(forgotten, max_size=3)).map(lambda each: each[0] + each[1])
seeds = st.integers(0, 10**6)
cuts = st.sampled_from([1, 3, 500])


@given(log=logs, seed=seeds, cut=cuts)
@ON_A_SERVER
async def test_a_replay_equals_living_through_it(
    parts: Parts, log: list[Event], seed: int, cut: int
) -> None:
    """Any links, chains and rings of them too, any order, any cuts, crashes and redeliveries."""
    rng = random.Random(seed)
    await parts.store.redis.flushdb()
    await live_through_side_by_side(parts, shuffled(log, rng), rng)
    live = await held(parts)
    assert profiles_in(live) == expected(log)
    for generation in (1, 2):
        assert await replayed(parts, generation, shuffled(log, rng), cut) == live
    await parts.store.redis.flushdb()
    assert await replayed(parts, 0, shuffled(log, rng), cut) == live


@given(log=linked_logs, seed=seeds, cut=cuts)
@ON_A_SERVER
async def test_a_replay_counts_what_was_counted(
    parts: Parts, log: list[Event], seed: int, cut: int
) -> None:
    rng = random.Random(seed)
    await parts.store.redis.flushdb()
    in_order = shuffled(log, rng)
    await live_through_side_by_side(parts, in_order, rng)
    counts = await counts_in(parts)
    await parts.store.redis.flushdb()
    await replayed(parts, 0, in_order, cut)
    assert are_equal(counts, await counts_in(parts))


async def test_an_event_that_a_profile_holds_twice_is_counted_once(parts: Parts) -> None:
    """Of ids that are each other's, by a worker that crashed before it had counted."""
    deeds: list[Event] = [search("web", "q", NOW - 9), click("web", "a"), click("web", "b")]
    log: list[Event] = [identify("web", "bo"), *deeds, identify("bo", "web")]
    await live_through(parts, log)
    counts = await counts_in(parts)
    await parts.store.redis.flushdb()
    first, *records, last = partitioned(log)
    await take(parts, [first])
    assert isinstance(parts.store, RestlessStore)
    parts.store.break_at = "count", 0
    with pytest.raises(ConnectionError):
        await take(parts, records)
    await take(parts, [last])
    assert len((await parts.store.profile("web")).history().items) == 4
    await take(parts, records)
    assert are_equal(counts, await counts_in(parts))


# Workers that come in each other's way


async def test_what_is_on_its_way_when_it_is_forgotten_does_not_arrive(parts: Parts) -> None:
    """Merged under the anonymous id before, and to be handed up afterwards."""
    store, (late, *_) = parts.store, TABLET
    await live_through(parts, [*ANA, *BO])
    record = pack_interaction(cast(Click, late))
    (merged,) = await store.merge([ProfileUpdate("tablet", others=Profile(record))])
    await live_through(parts, FORGET)
    await hand_up(parts, [Deeds(store.digest("tablet"), merged, Profile(record))])
    assert await store.profile("bo") == of([OF_BO])
    assert await store.profile("ana") == await store.profile("tablet") == Profile()


async def test_who_is_identified_while_another_is_forgotten_takes_nothing_over(
    parts: Parts,
) -> None:
    """The profile was read before, and is merged afterwards."""
    store = parts.store
    await live_through(parts, [*TABLET, *ANA])
    read = await store.link("tablet", store.digest("bo"), NOW)
    assert read.profile != Profile()
    await live_through(parts, FORGET)
    link = Link(False, NOW, store.digest("tablet"))
    await store.merge([ProfileUpdate("bo", others=read.profile, link=link)])
    assert await store.profile("bo") == Profile()


# Other generations, other versions


async def test_a_generation_that_does_not_know_holds_it_no_more(parts: Parts) -> None:
    older = parts.for_past(1)
    for each in (parts, older):
        await live_through(each, [*TABLET, *ANA, *BO])
    before = await held(older)
    await live_through(parts, FORGET)
    assert await older.store.profile("bo") == of([OF_BO]), "as read"
    assert (await held(older))["bo"][0] == before["bo"][0]
    assert await forget_again(older.store) == 3
    assert await held(older) == await held(parts)


async def test_links_may_lie_in_the_order_of_an_earlier_version(parts: Parts) -> None:
    """It takes a limit for a link, and puts the newest first."""
    await live_through(parts, [*TABLET, *ANA, *BO, *FORGET, identify("bo", "web", NOW)])
    key = parts.store.keys("bo").identity
    before = await held(parts)
    identity = before["bo"][1]
    marker, limit, links = identity[:8], identity[8:31], identity[31:]
    assert limit[:1] == b"f"
    await parts.store.redis.set(key, marker + links + limit)
    await live_through(parts, TABLET)
    assert await parts.store.profile("bo") == of([OF_BO])
    await live_through(parts, [identify("bo", "tablet", NOW - 55)])
    assert await held(parts) == before


# Where a replay is not exact


def records_in(section: bytes, width: int) -> set[bytes]:
    return {section[at : at + width] for at in range(0, len(section), width)}


@pytest.mark.parametrize(
    ("deed", "which"), [(search, 1), (purchase, 0)], ids=["searches", "purchases"]
)
@pytest.mark.parametrize("seed", range(3))
async def test_of_a_full_section_own_events_of_before_may_be_missing(
    parts: Parts, deed: Callable[..., Deed], which: int, seed: int
) -> None:
    """What was taken over has pushed them out before it was forgotten; a replay has them. As many
    later ones make up for that."""
    bound, rng = SECTIONS[which].bound, random.Random(seed)
    end = NOW - bound
    limit = end - 2 * bound
    own, taken = (
        [deed(name, f"{name} {at}", end - 6 * at - shift) for at in range(bound)]
        for name, shift in (("bo", 0), ("tablet", 3))
    )
    links: list[Event] = [identify("ana", "tablet"), identify("bo", "tablet")]
    log: list[Event] = [*shuffled([*own, *taken, *links], rng), forget("ana", limit)]
    await live_through(parts, log)
    live, again = await held(parts), await replayed(parts, 1, shuffled(log, rng))
    of_before = of([each for each in own if each.time <= limit])
    differs = False
    for section, one, two, old in zip(
        SECTIONS, profiles_in(live)["bo"], profiles_in(again)["bo"], of_before, strict=True
    ):
        one_set, two_set, old_set = (records_in(each, section.width) for each in (one, two, old))
        assert one_set ^ two_set <= old_set
        differs = differs or one != two
    assert differs
    assert live | {"bo": again["bo"]} == again
    later: list[Event] = [deed("bo", f"later {at}", end + 1 + at) for at in range(bound)]
    for each in (parts, parts.for_past(1)):
        await live_through(each, later)
    assert await held(parts) == await held(parts.for_past(1))


async def test_of_an_id_the_newest_sixteen_links_are_followed(parts: Parts) -> None:
    names = [f"user {at}" for at in range(18)]
    told: list[Event] = [identify(name, "tablet", NOW - 50 + at) for at, name in enumerate(names)]
    seen = click("tablet", "a", NOW - 90)
    await take(parts, records_of([seen, *told]))
    for name in names:
        assert await parts.store.profile(name) == of([seen]).linked()
    await take(parts, records_of([forget("tablet", NOW - 80)], first=99))
    left = [name for name in names if await parts.store.profile(name) != Profile()]
    assert left == names[:2]
