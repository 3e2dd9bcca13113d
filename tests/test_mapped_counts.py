"""A record that makes many events loses none of them, and counts each once, whatever crashes."""

import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from itertools import combinations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.events import Click, Purchase
from model.ids import item_hash
from model.mapping import Mapping
from model.signals import TOGETHER_MS
from serving.functions import MOST_ADMISSIONS
from serving.intake import decode
from serving.merge import origin
from serving.parts import Parts
from serving.waves import in_waves
from tests.parts import MINUTE_MS, NOW, FakeRecord, FlakyStore, open_parts, take, take_with_crashes

pytestmark = pytest.mark.either_backend

SEGMENT = Mapping.named("segment")
TOPIC = "clicks"
ITEMS = [f"i{number}" for number in range(40)]
LINES = 3 * MOST_ADMISSIONS
"""Of an order: more than one wave takes of a user."""


@pytest.fixture
async def parts(redis_url: str) -> AsyncIterator[Parts]:
    async with open_parts(redis_url, kind=FlakyStore, mappings={TOPIC: SEGMENT}) as opened:
        yield opened


def record(offset: int, user: str, **told: object) -> FakeRecord:
    """A call of Segment's."""
    call = {"messageId": f"m{offset}", "userId": user, "type": "track", **told}
    return FakeRecord(msgspec.json.encode(call), offset, user.encode(), TOPIC)


def order(offset: int, user: str, items: Sequence[str], ts: int = NOW) -> FakeRecord:
    products = [{"product_id": item, "price": 2.5, "quantity": 1} for item in items]
    return record(
        offset,
        user,
        event="Order Completed",
        timestamp=moment(ts),
        properties={"products": products},
    )


def view(offset: int, user: str, item: str, ts: int = NOW) -> FakeRecord:
    return record(
        offset, user, event="Product Viewed", timestamp=moment(ts), properties={"product_id": item}
    )


def moment(ts: int) -> str:
    return datetime.fromtimestamp(ts / 1000, UTC).isoformat()


async def are_exact(parts: Parts, records: Sequence[FakeRecord]) -> bool:
    """Whether popularity and pairs are those of the distinct events in the records."""
    decoded, _ = decode(records, NOW, parts.mappings)
    events = {each.event.event_id: each.event for each in decoded}.values()
    popular: defaultdict[int, float] = defaultdict(float)
    pairs: defaultdict[tuple[int, int], float] = defaultdict(float)
    for event in events:
        assert isinstance(event, Click | Purchase)
        popular[item_hash(event.item_id)] += parts.counts.weight(event.time)
    for one, other in combinations(events, 2):
        assert isinstance(one, Click | Purchase) and isinstance(other, Click | Purchase)
        is_together = abs(one.time - other.time) <= TOGETHER_MS
        if one.user_id == other.user_id and one.item_id != other.item_id and is_together:
            first, second = item_hash(one.item_id), item_hash(other.item_id)
            pairs[first, second] += parts.counts.weight(max(one.time, other.time))
            pairs[second, first] = pairs[first, second]
    found = await parts.counts.popular()
    hashes = [item_hash(item) for item in ITEMS]
    near = await parts.counts.neighbours(hashes)
    counted = {
        (item, other): weight
        for item, each in zip(hashes, near, strict=True)
        for other, weight in zip(each.items.tolist(), each.weights.tolist(), strict=True)
    }
    told = dict(zip(found.items.tolist(), found.weights.tolist(), strict=True))
    return told == pytest.approx(dict(popular), rel=1e-9) and counted == pytest.approx(
        dict(pairs), rel=1e-9
    )


async def test_all_lines_of_an_order_are_learnt_and_counted(parts: Parts) -> None:
    records = [view(7, "u", "i39"), order(8, "u", ITEMS[:LINES]), view(9, "u", "i38")]
    learned = await take(parts, records)
    assert len(learned["u"].profile.history().items) == LINES + 2
    assert len(learned["u"].profile.bought().items) == LINES
    assert await are_exact(parts, records)


async def test_the_same_item_twice_in_an_order_is_two_purchases(parts: Parts) -> None:
    records = [order(0, "u", ["i1", "i1"])]
    learned = await take(parts, records)
    assert len(learned["u"].profile.history().items) == 2
    assert await are_exact(parts, records)


async def test_an_order_that_comes_again_adds_nothing(parts: Parts) -> None:
    records = [order(8, "u", ITEMS[:LINES]), order(9, "v", ITEMS[5:25])]
    for _ in range(3):
        await take(parts, records)
    assert await are_exact(parts, records)


@pytest.mark.parametrize("through", range(4))
@pytest.mark.parametrize("function", ["merge", "count"])
async def test_an_order_survives_a_crash_in_its_middle(
    parts: Parts, function: str, through: int
) -> None:
    """In the first wave, or in the second while the first is counted."""
    store = parts.store
    assert isinstance(store, FlakyStore)
    records = [view(3, "v", "i1"), order(4, "u", ITEMS[:LINES]), view(5, "v", "i2")]
    store.break_at = function, through
    with pytest.raises(ConnectionError):
        await take(parts, records)
    await take(parts, records[:1])
    await take(parts, records[1:])
    assert await are_exact(parts, records)


@given(st.integers(0, 10**9))
@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_survives_crashes_and_redelivery(parts: Parts, seed: int) -> None:
    await parts.store.redis.flushdb()
    rng = random.Random(seed)
    records = [
        order(
            offset,
            rng.choice("uv"),
            rng.choices(ITEMS, k=LINES),
            NOW - rng.randrange(9) * MINUTE_MS,
        )
        if offset % 5 == 2
        else view(offset, rng.choice("uvw"), rng.choice(ITEMS))
        for offset in range(12)
    ]
    await take_with_crashes(parts, records, rng, ("merge", "count"))
    assert await are_exact(parts, records)


def test_each_event_of_a_record_has_a_number_of_its_own() -> None:
    decoded, _ = decode([order(8, "u", ITEMS[:LINES])], NOW, {TOPIC: SEGMENT})
    waves = in_waves(decoded, lambda topic, partition: f"{topic}:{partition}")
    assert [len(wave.changes["u"].events) for wave in waves] == [MOST_ADMISSIONS] * 3
    offsets = [offset for wave in waves for offset in wave.changes["u"].offsets]
    assert offsets == [8 * 1024 + number for number in range(LINES)]
    assert waves[1].changes["u"].update.origins[0] == origin(f"{TOPIC}:0/parts", offsets[10])
