"""Shared counts are those of the distinct events, whatever is delivered twice or crashes."""

import math
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from itertools import combinations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.events import Click, Search
from model.ids import item_hash
from model.items import Item
from model.signals import TOGETHER_MS
from serving.count_rows import ROW
from serving.counts import LANDMARK_MS, MAX_NEIGHBOURS, Counts, Neighbours
from serving.parts import Parts
from serving.profile import QUERIES
from tests.parts import (
    DAY_MS,
    MINUTE_MS,
    NOW,
    FakeRecord,
    FlakyStore,
    click,
    forget,
    open_parts,
    records_of,
    search,
    take,
    take_with_crashes,
)

pytestmark = pytest.mark.either_backend

HALF_LIFE_MS = 14 * DAY_MS
ITEMS = "abcde"
NAMES = {item_hash(item): item for item in [*ITEMS, *(f"i{at}" for at in range(400))]}


@pytest.fixture
async def parts(redis_url: str) -> AsyncIterator[Parts]:
    async with open_parts(redis_url, kind=FlakyStore) as opened:
        yield opened


def weight(time: int) -> float:
    """What an event at that time adds."""
    return float(2 ** ((time - LANDMARK_MS) / HALF_LIFE_MS))


def popularity_of(log: Sequence[Click]) -> dict[str, float]:
    """What popularity should be: the weights of each item's distinct events."""
    total: defaultdict[str, float] = defaultdict(float)
    for event in {event.event_id: event for event in log}.values():
        total[event.item_id] += weight(event.time)
    return dict(total)


def pairs_of(log: Sequence[Click]) -> dict[tuple[str, str], float]:
    """What co-visits should be: each unordered pair of a user's distinct events, once."""
    total: defaultdict[tuple[str, str], float] = defaultdict(float)
    distinct = {event.event_id: event for event in log}.values()
    for one, other in combinations(distinct, 2):
        is_together = abs(one.time - other.time) <= TOGETHER_MS
        if one.user_id == other.user_id and one.item_id != other.item_id and is_together:
            later = weight(max(one.time, other.time))
            total[one.item_id, other.item_id] += later
            total[other.item_id, one.item_id] += later
    return dict(total)


def named(neighbours: Neighbours) -> dict[str, float]:
    """Weights by item id."""
    items, weights = neighbours.items.tolist(), neighbours.weights.tolist()
    assert weights == sorted(weights, reverse=True)
    assert len(set(items)) == len(items)
    return {NAMES[item]: weight for item, weight in zip(items, weights, strict=True)}


async def are_exact(parts: Parts, log: Sequence[Click]) -> bool:
    """Whether the counts are those of the log's distinct events, up to rounding."""
    popular = named(await parts.counts.popular())
    near = await parts.counts.neighbours([item_hash(item) for item in ITEMS])
    pairs = {
        (item, other): value
        for item, neighbours in zip(ITEMS, near, strict=True)
        for other, value in named(neighbours).items()
    }
    return popular == pytest.approx(popularity_of(log), rel=1e-9) and pairs == pytest.approx(
        pairs_of(log), rel=1e-9
    )


def a_log(rng: random.Random, size: int) -> list[Click]:
    """Clicks of three users over three hours, some delivered twice by their producer."""
    log = [
        click(rng.choice("uvw"), rng.choice(ITEMS), NOW - rng.randrange(180) * MINUTE_MS)
        for _ in range(size)
    ]
    log += rng.choices(log, k=size // 4)
    rng.shuffle(log)
    return log


async def test_a_pair_within_half_an_hour_is_counted_once(parts: Parts) -> None:
    start = NOW - 2 * TOGETHER_MS
    log = [
        click("u", "a", start),
        click("u", "b", start + TOGETHER_MS),
        click("u", "c", start + TOGETHER_MS + 1),
        click("u", "a", start + 5),
        click("v", "d", start),
    ]
    await take(parts, records_of(log[:2]))
    await take(parts, records_of(log[2:], first=2))
    assert await are_exact(parts, log)
    near = await parts.counts.neighbours([item_hash("a"), item_hash("d")])
    assert set(named(near[0])) == {"b", "c"}
    assert named(near[1]) == {}


SEEDS = given(st.integers(0, 10**9))
ON_A_SERVER = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@SEEDS
@ON_A_SERVER
async def test_batch_boundaries_do_not_matter(parts: Parts, seed: int) -> None:
    await parts.store.redis.flushdb()
    rng = random.Random(seed)
    log = a_log(rng, 30)
    records, start = records_of(log), 0
    while start < len(records):
        end = start + rng.randrange(1, 20)
        await take(parts, records[start:end])
        start = end
    assert await are_exact(parts, log)


@SEEDS
@ON_A_SERVER
async def test_survives_crashes_and_redelivery(parts: Parts, seed: int) -> None:
    """Crashes in every place; what was not acknowledged comes again, cut in another way."""
    await parts.store.redis.flushdb()
    rng = random.Random(seed)
    log = a_log(rng, 30)
    await take_with_crashes(parts, records_of(log), rng, ("merge", "count"))
    assert await are_exact(parts, log)


async def test_the_crashes_above_do_happen(parts: Parts) -> None:
    store = parts.store
    assert isinstance(store, FlakyStore)
    log = [click("u", item) for item in ITEMS]
    for function, through in (("merge", 1), ("count", 0), ("count", 2)):
        store.break_at = function, through
        with pytest.raises(ConnectionError):
            await take(parts, records_of(log))
    await take(parts, records_of(log[:3]))
    await take(parts, records_of(log[3:], first=3))
    assert await are_exact(parts, log)


async def test_a_redelivered_batch_adds_nothing(parts: Parts) -> None:
    log = a_log(random.Random(0), 40)
    for _ in range(3):
        await take(parts, records_of(log))
    assert await are_exact(parts, log)


async def test_partitions_keep_their_own_offsets(parts: Parts) -> None:
    log = [click(user, item) for user in "uvw" for item in "ab"]
    records = [
        FakeRecord(each.value, offset % 2, each.key, partition=offset // 2)
        for offset, each in enumerate(records_of(log))
    ]
    await take(parts, records[4:])
    await take(parts, records[:4])
    await take(parts, records)
    assert await are_exact(parts, log)


async def test_what_was_forgotten_is_not_counted(parts: Parts) -> None:
    await take(parts, records_of([forget("u", NOW), click("u", "a", NOW - 1)]))
    assert named(await parts.counts.popular()) == {}


async def test_pruning_keeps_the_strongest(parts: Parts) -> None:
    strong = [f"i{at}" for at in range(MAX_NEIGHBOURS)]
    offset = 0
    for user, item in enumerate([*strong * 3, *(f"i{at}" for at in range(100, 300))]):
        await take(
            parts, records_of([click(f"u{user}", each) for each in ("a", item)], first=offset)
        )
        offset += 2
    (near,) = await parts.counts.neighbours([item_hash("a")], most=1000)
    held = named(near)
    assert set(strong) <= set(held)
    assert len(held) <= 3 * MAX_NEIGHBOURS
    (top,) = await parts.counts.neighbours([item_hash("a")], most=10)
    assert list(named(top)) == list(held)[:10]


async def test_an_item_keeps_a_bounded_number_of_rows(parts: Parts) -> None:
    redis = parts.store.redis
    for user in range(4 * MAX_NEIGHBOURS):
        # Rows of one item again are as many rows as those of others.
        item = f"i{user if user > MAX_NEIGHBOURS else 0}"
        visit = [click(f"u{user}", item), click(f"u{user}", "a")]
        await take(parts, records_of(visit, first=2 * user))
        (key,) = await redis.keys(f"*:with:{item_hash('a'):012x}")
        assert await redis.strlen(key) <= 3 * MAX_NEIGHBOURS * ROW.itemsize
    (near,) = await parts.counts.neighbours([item_hash("a")], most=1)
    assert named(near) == {"i0": pytest.approx((MAX_NEIGHBOURS + 1) * weight(NOW))}


async def test_nothing_counted_is_nothing_found(parts: Parts) -> None:
    assert named(await parts.counts.popular()) == {}
    assert await parts.counts.neighbours([]) == []
    (near,) = await parts.counts.neighbours([item_hash("a")])
    assert named(near) == {}


def test_an_event_counts_half_after_the_half_life() -> None:
    counts = Counts.__new__(Counts)
    counts.half_life_ms = HALF_LIFE_MS
    assert counts.weight(NOW) == pytest.approx(2 * counts.weight(NOW - HALF_LIFE_MS))
    assert counts.weight(LANDMARK_MS) == 1
    assert all(0 < counts.weight(time) < math.inf for time in (0, 2**47))


async def chosen(parts: Parts, query: str) -> dict[str, float]:
    """What was chosen after a search."""
    (found,) = await parts.counts.chosen_after([query])
    return named(found)


async def test_what_is_chosen_after_a_search_is_counted_by_the_query(parts: Parts) -> None:
    log: list[Click | Search] = [
        search("u", "智能手机", NOW - TOGETHER_MS - 1),
        click("u", "a", NOW - TOGETHER_MS - 1),
        click("u", "b", NOW - 1),
        click("u", "c", NOW),
        click("u", "d", NOW - TOGETHER_MS - 2),
        click("v", "e", NOW - TOGETHER_MS),
        search("w", "Ｃhocolate   BARS", NOW - 7),
        click("w", "a", NOW - 5),
    ]
    await take(parts, records_of(log))
    assert await chosen(parts, "智能手机") == {
        "a": weight(NOW - TOGETHER_MS - 1),
        "b": weight(NOW - 1),
    }
    assert await chosen(parts, "chocolate bars") == {"a": weight(NOW - 5)}
    assert await chosen(parts, "nobody asked") == {}
    assert set(named((await parts.counts.neighbours([item_hash("a")]))[0])) == {"b", "d"}


def choices_of(log: Sequence[Click | Search]) -> dict[str, float]:
    """What should be counted after the search "q": each distinct pair once."""
    total: defaultdict[str, float] = defaultdict(float)
    distinct = {event.event_id: event for event in log}.values()
    for asked in distinct:
        for event in distinct:
            if isinstance(asked, Search) and isinstance(event, Click):
                after = event.time - asked.time
                if event.user_id == asked.user_id and 0 <= after <= TOGETHER_MS:
                    total[event.item_id] += weight(event.time)
    return dict(total)


@SEEDS
@ON_A_SERVER
async def test_choices_survive_crashes_and_redelivery(parts: Parts, seed: int) -> None:
    await parts.store.redis.flushdb()
    rng = random.Random(seed)
    log: list[Click | Search] = [*a_log(rng, 20)]
    log += [search(rng.choice("uvw"), "q", NOW - rng.randrange(180) * MINUTE_MS) for _ in range(6)]
    rng.shuffle(log)
    await take_with_crashes(parts, records_of(log), rng, ("merge", "count"))
    assert await chosen(parts, "q") == pytest.approx(choices_of(log), rel=1e-9)
    assert await are_exact(parts, [event for event in log if isinstance(event, Click)])


async def test_a_choice_belongs_to_searches_that_later_ones_push_out(parts: Parts) -> None:
    """Whether what is chosen and the next search come in one micro-batch or in two."""
    asked = [search("u", f"query {at}", NOW - 20_000 + at) for at in range(QUERIES.bound)]
    events: list[Click | Search] = [
        *asked,
        click("u", "a", NOW - 9),
        search("u", "one too many", NOW - 8),
    ]
    await take(parts, records_of(events))
    for each in asked:
        assert await chosen(parts, each.query) == pytest.approx({"a": weight(NOW - 9)})
    assert await chosen(parts, "one too many") == {}


async def test_sets_of_queries_expire_and_those_of_items_do_not(parts: Parts) -> None:
    await take(parts, records_of([search("u", "q"), click("u", "a"), click("u", "b")]))
    (query,) = await parts.store.redis.keys("*:after:*")
    items = await parts.store.redis.keys("*:with:*")
    assert len(items) == 2
    assert await parts.store.redis.pttl(query) == pytest.approx(6 * HALF_LIFE_MS, rel=0.01)
    assert [await parts.store.redis.ttl(key) for key in items] == [-1, -1]


async def test_a_topic_that_was_made_anew_is_counted_from_its_first_offset(parts: Parts) -> None:
    topics = parts.store.topic_identities
    topics["events"] = "first"
    await take(parts, records_of([click("u", "a")], first=500))
    topics["events"] = "second"
    await take(parts, records_of([click("v", "a")], first=0))
    assert named(await parts.counts.popular()) == {"a": 2 * weight(NOW)}
    topics["events"] = "first"
    await take(parts, records_of([click("w", "a")], first=400))
    assert named(await parts.counts.popular()) == {"a": 2 * weight(NOW)}, "was applied long ago"


async def test_popularity_by_category_follows_the_catalogue(parts: Parts) -> None:
    for item, path in {"a": ("food", "milk"), "b": ("food",), "c": ("toys",)}.items():
        parts.catalog.put(Item(item_id=item, category=path))
    log = [click(f"u{at}", item) for at, item in enumerate("abbccc")]
    await take(parts, records_of(log))
    await parts.candidates.refresh_popular()
    popular = parts.candidates.popular_now

    def within(*category: str) -> list[str]:
        return [parts.catalog.items[row].item_id for row in popular.in_category(category).tolist()]

    assert within() == ["c", "b", "a"]
    assert (within("food"), within("food", "milk"), within("toys")) == (["b", "a"], ["a"], ["c"])
    assert within("nothing") == []
    parts.catalog.put(Item(item_id="c", category=("food",)))
    await parts.candidates.refresh_popular()
    assert (within("food"), within("toys")) == (["c", "b", "a"], [])
