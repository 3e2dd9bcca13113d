"""Impressions, clicks, carts and purchases are joined to their lists, each counted once."""

import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from model.events import Cart, Click, Event, Impression, Purchase
from model.ids import item_hash
from model.items import Item
from serving.exposure import item_cells, response_cells
from serving.feedback import KINDS
from serving.looks import read_looks
from serving.parts import Parts
from serving.recommendation import AsOf, Recommendation, Recommended, recommendation_id
from tests.parts import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    NOW,
    FlakyStore,
    counted,
    forget,
    open_parts,
    records_of,
    take,
    take_with_crashes,
)

pytestmark = pytest.mark.either_backend

BUNDLE = "20260528-0123456789ab"
WINDOW_MS = 6 * HOUR_MS
NAMES = {item_hash(item): item for item in "abcdefgh"}
SOURCES = {"a": ("together",), "b": ("nearest", "popular"), "c": ("new",)}
BITS = {"a": 4, "b": 24, "c": 64}
Cells = dict[tuple[object, ...], float]

_serial = count()


@pytest.fixture
async def parts(redis_url: str) -> AsyncIterator[Parts]:
    items = [Item(item_id=name) for name in "abcdefgh"]
    async with open_parts(redis_url, items, kind=FlakyStore) as opened:
        opened.store.attribution_ms = WINDOW_MS
        yield opened


def a_list(
    user: str, items: str = "abc", *, ts: int = NOW - HOUR_MS, offset: int = 0
) -> Recommendation:
    as_of = AsOf("events", 0, offset)
    return Recommendation(
        rec_id=recommendation_id(user, as_of, BUNDLE),
        user_id=user,
        event_id="e",
        ts=ts,
        as_of=as_of,
        bundle=BUNDLE,
        items=tuple(
            Recommended(item, rank, 0.5, SOURCES.get(item, ("popular",)), "because")  # type: ignore[arg-type]
            for rank, item in enumerate(items, start=1)
        ),
        step_ms={},
    )


def shown(made: Recommendation, items: str | None = None, ts: int = NOW) -> Impression:
    ids = tuple(items) if items is not None else tuple(each.item_id for each in made.items)
    return Impression(
        event_id=f"shown-{next(_serial)}", user_id=made.user_id, ts=ts, rec_id=made.rec_id,
        item_ids=ids,
    )  # fmt: skip


def deed(
    kind: type[Click] | type[Cart] | type[Purchase],
    made: Recommendation,
    item: str,
    *,
    ts: int = NOW,
    is_named: bool = True,
) -> Event:
    rec_id = made.rec_id if is_named else None
    return kind(
        event_id=f"deed-{next(_serial)}", user_id=made.user_id, ts=ts, item_id=item, rec_id=rec_id
    )


async def responses(parts: Parts) -> Cells:
    """Decayed responses by kind, source bits and position."""
    _, told = await parts.counts.looks(BUNDLE)
    cells = response_cells(told.items, told.weights / parts.counts.weight(NOW))
    columns = (column.tolist() for column in cells)
    return {
        (KINDS[kind], bits, position): weight
        for kind, bits, position, weight in zip(*columns, strict=True)
    }


async def of_items(parts: Parts) -> Cells:
    """Decayed impressions and clicks by item and position."""
    found: Cells = {}
    for kind, each in zip(("impression", "click"), (await parts.counts.looks(BUNDLE))[0]):  # noqa: B905
        cells = item_cells(each.items, each.weights / parts.counts.weight(NOW))
        for item, position, weight in zip(*(column.tolist() for column in cells), strict=True):
            found[kind, NAMES[item], position] = weight
    return found


async def test_what_was_shown_and_clicked_is_counted_by_source_and_position(parts: Parts) -> None:
    made = a_list("u")
    await parts.store.keep([made])
    await take(parts, records_of([shown(made), deed(Click, made, "b"), deed(Cart, made, "b")]))
    assert await responses(parts) == pytest.approx(
        {
            ("impression", BITS["a"], 1): 1,
            ("impression", BITS["b"], 2): 1,
            ("impression", BITS["c"], 3): 1,
            ("click", BITS["b"], 2): 1,
            ("cart", BITS["b"], 2): 1,
        }
    )
    assert await of_items(parts) == pytest.approx(
        {
            ("impression", "a", 1): 1,
            ("impression", "b", 2): 1,
            ("impression", "c", 3): 1,
            ("click", "b", 2): 1,
        }
    )


async def test_a_click_counts_at_the_position_at_which_the_item_was_shown(parts: Parts) -> None:
    made = a_list("u")
    await parts.store.keep([made])
    await take(parts, records_of([shown(made, "cxb"), deed(Click, made, "b")]))
    told = await responses(parts)
    assert set(told) == {
        ("impression", BITS["c"], 1), ("impression", BITS["b"], 3), ("click", BITS["b"], 3),
    }  # fmt: skip


async def test_responses_weigh_by_event_time(parts: Parts) -> None:
    made = a_list("u", ts=NOW - 14 * DAY_MS)
    await parts.store.keep([made])
    await take(parts, records_of([deed(Click, made, "a", ts=NOW - 14 * DAY_MS)]))
    assert await responses(parts) == pytest.approx({("click", BITS["a"], 1): 0.5})


async def test_only_what_happens_in_the_window_is_due_to_a_list(parts: Parts) -> None:
    made = a_list("u", ts=NOW - WINDOW_MS)
    await parts.store.keep([made])
    before = counted("unattributed", kind="click")
    late = deed(Click, made, "a", ts=NOW + 1)
    await take(parts, records_of([late, deed(Click, made, "b")]))
    assert set(await responses(parts)) == {("click", BITS["b"], 2)}
    assert counted("unattributed", kind="click") == before + 1


async def test_events_that_fit_no_list_are_told(parts: Parts) -> None:
    made = a_list("u")
    await parts.store.keep([made])
    before = counted("unattributed", kind="click")
    strange = Click(event_id="s", user_id="u", ts=NOW, item_id="a", rec_id="ours? no")
    other = Click(event_id="o", user_id="other", ts=NOW, item_id="a", rec_id=made.rec_id)
    await take(parts, records_of([deed(Click, made, "h"), other, strange]))
    assert await responses(parts) == {}
    assert counted("unattributed", kind="click") == before + 2, "a strange id names no list of ours"


async def test_an_event_that_is_sent_twice_counts_once(parts: Parts) -> None:
    made = a_list("u")
    await parts.store.keep([made])
    events = [shown(made), deed(Click, made, "a")]
    await take(parts, records_of([*events, *events]))
    await take(parts, records_of(events, first=4))
    told = await responses(parts)
    assert len(told) == 4 and told == pytest.approx(dict.fromkeys(told, 1))


async def test_a_cart_without_a_list_is_due_to_the_newest_one_in_which_it_was_clicked(
    parts: Parts,
) -> None:
    older, newer = a_list("u", "bac"), a_list("u", "abc", offset=1)
    await parts.store.keep([older])
    await parts.store.keep([newer])
    await take(parts, records_of([deed(Click, older, "a"), deed(Cart, newer, "a", is_named=False)]))
    assert set(await responses(parts)) == {("click", BITS["a"], 2), ("cart", BITS["a"], 2)}
    await take(
        parts,
        records_of([deed(Click, newer, "a"), deed(Purchase, newer, "a", is_named=False)], first=2),
    )
    assert ("purchase", BITS["a"], 1) in await responses(parts)
    nothing = deed(Purchase, newer, "c", is_named=False)
    await take(parts, records_of([nothing], first=4))
    assert ("purchase", BITS["c"], 3) not in await responses(parts)


async def test_what_was_bought_before_the_click_is_not_due_to_it_when_it_comes_again(
    parts: Parts,
) -> None:
    made = a_list("u")
    await parts.store.keep([made])
    log = [deed(Purchase, made, "b", is_named=False), deed(Click, made, "b")]
    await take(parts, records_of(log))
    again = [*log, deed(Purchase, made, "b", is_named=False)]
    await take(parts, records_of(again))
    assert await responses(parts) == pytest.approx(
        {("click", BITS["b"], 2): 1, ("purchase", BITS["b"], 2): 1}
    )


async def test_a_list_that_is_kept_again_keeps_what_came_of_it(parts: Parts) -> None:
    made = a_list("u")
    await parts.store.keep([made])
    click = deed(Click, made, "a")
    await take(parts, records_of([click]))
    await parts.store.keep([made])
    await take(parts, records_of([click], first=1))
    assert await responses(parts) == pytest.approx({("click", BITS["a"], 1): 1})


async def test_lists_that_come_again_push_none_out(parts: Parts) -> None:
    many = [a_list("u", offset=at) for at in range(9)]
    for made in many:
        await parts.store.keep([made])
    click = deed(Click, many[-1], "a")
    await take(parts, records_of([click], first=20))
    for made in many:
        await parts.store.keep([made])
    await take(parts, records_of([click], first=21))
    assert await responses(parts) == pytest.approx({("click", BITS["a"], 1): 1})


async def test_behind_a_late_list_those_of_the_window_stay(parts: Parts) -> None:
    first = a_list("u", ts=NOW - HOUR_MS)
    late = a_list("u", ts=NOW - WINDOW_MS - HOUR_MS, offset=1)
    for made in (first, late, a_list("u", ts=NOW, offset=2)):
        await parts.store.keep([made])
    await take(parts, records_of([deed(Click, first, "a")], first=20))
    assert await responses(parts) == pytest.approx({("click", BITS["a"], 1): 1})


async def remembered(parts: Parts, key: str) -> bytes:
    held: Any = await parts.store.redis.hget(key, "shown")
    return bytes(held)


async def test_what_is_remembered_is_bounded_and_forgotten(parts: Parts) -> None:
    many = [a_list("u", ts=NOW - WINDOW_MS - 100 + at, offset=at) for at in range(30)]
    for made in many:
        await parts.store.keep([made])
        await take(parts, records_of([shown(made, ts=made.ts)], first=made.as_of.offset))
    key = parts.store.keys("u").last_list
    held = await remembered(parts, key)
    assert sum(bytes.fromhex(made.rec_id) in held for made in many) == 8
    assert len(held) < 8 * 150
    assert bytes.fromhex(many[-1].rec_id) in held
    # What lies before the window goes with the next list.
    later = a_list("u", ts=NOW, offset=40)
    await parts.store.keep([later])
    held = await remembered(parts, key)
    assert bytes.fromhex(many[-1].rec_id) not in held
    assert 0 < await parts.store.redis.pttl(key) <= 3 * DAY_MS
    await take(parts, records_of([forget("u", NOW)], first=50))
    assert not await parts.store.redis.exists(key)
    await parts.store.keep([later])
    assert not await parts.store.redis.exists(key)


async def test_nothing_is_remembered_or_asked_where_it_is_turned_off(parts: Parts) -> None:
    parts.store.attribution_ms = 0
    made = a_list("u")
    await parts.store.keep([made])
    await take(parts, records_of([shown(made), deed(Click, made, "a")]))
    assert not await parts.store.redis.hexists(parts.store.keys("u").last_list, "shown")
    assert await responses(parts) == {}


async def test_metrics_tell_click_through_and_conversion(parts: Parts) -> None:
    lists = [a_list(f"u{at}", offset=at) for at in range(4)]
    await parts.store.keep(lists)
    events: list[Event] = [shown(made) for made in lists]
    events += [deed(Click, made, "a") for made in lists[:2]]
    events.append(deed(Purchase, lists[0], "a"))
    label = {"kind": "click", "source": "together", "position": "1", "bundle": BUNDLE}
    before = counted("feedback", **label)
    await take(parts, records_of(events))
    assert counted("feedback", **label) == before + 2
    await read_looks(parts.counts, parts.catalog, BUNDLE, parts.counts.weight(NOW))

    def share(**labels: str) -> float | None:
        return REGISTRY.get_sample_value("nextclick_response_share", {**label, **labels})

    assert share() == pytest.approx(0.5)
    assert share(kind="purchase") == pytest.approx(0.25)
    assert share(source="nearest", position="2") == 0
    together = {"source": "together", "bundle": BUNDLE}
    through = REGISTRY.get_sample_value("nextclick_click_through", together)
    assert through == pytest.approx(0.5)


USERS = "uvw"
ON_A_SERVER = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def a_log(rng: random.Random, lists: Sequence[Recommendation]) -> list[Event]:
    """What users do with their lists, some of it sent twice."""
    log: list[Event] = []
    for _ in range(30):
        made = rng.choice(lists)
        match rng.randrange(4):
            case 0:
                items = "".join(rng.sample("abch", 3))
                log.append(shown(made, items, NOW - rng.randrange(60) * MINUTE_MS))
            case at:
                kind = (Click, Cart, Purchase)[at - 1]
                log.append(deed(kind, made, rng.choice("abch")))
    return [*log, *rng.choices(log, k=6)]


def expected(log: Iterable[Event], lists: Sequence[Recommendation], parts: Parts) -> Cells:
    """What responses have to be: of each list, item and kind the first event that tells it."""
    made_of = {made.rec_id: [each.item_id for each in made.items] for made in lists}
    total: defaultdict[tuple[object, ...], float] = defaultdict(float)
    positions: dict[tuple[str, str], int] = {}
    told: set[tuple[str, str, str]] = set()
    for event in log:
        assert isinstance(event, Impression | Click | Cart | Purchase) and event.rec_id
        kind = type(event).__name__.lower()
        items = event.item_ids if isinstance(event, Impression) else (event.item_id,)
        for at, item in enumerate(items, start=1):
            listed = made_of[event.rec_id]
            if item not in listed or (event.rec_id, item, kind) in told:
                continue
            told.add((event.rec_id, item, kind))
            if kind == "impression":
                positions[event.rec_id, item] = at
            position = positions.get((event.rec_id, item), 1 + listed.index(item))
            weight = parts.counts.weight(event.time) / parts.counts.weight(NOW)
            total[kind, BITS[item], position] += weight
    return dict(total)


@given(st.integers(0, 10**9))
@ON_A_SERVER
async def test_redelivery_and_crashes_change_nothing(parts: Parts, seed: int) -> None:
    """Crashes in every place; what was not acknowledged comes again, cut in another way."""
    await parts.store.redis.flushdb()
    rng = random.Random(seed)
    lists = [a_list(rng.choice(USERS), offset=at) for at in range(6)]
    await parts.store.keep(lists)
    log = a_log(rng, lists)
    await take_with_crashes(parts, records_of(log), rng, ("merge", "attribute", "count"))
    assert await responses(parts) == pytest.approx(expected(log, lists, parts), rel=1e-9)


async def test_the_crashes_above_do_happen(parts: Parts) -> None:
    store, made = parts.store, a_list("u")
    assert isinstance(store, FlakyStore)
    await store.keep([made])
    records = records_of([deed(Click, made, "a")])
    for function in ("merge", "attribute", "count"):
        store.break_at = function, 0
        with pytest.raises(ConnectionError):
            await take(parts, records)
    await take(parts, records)
    assert await responses(parts) == pytest.approx({("click", BITS["a"], 1): 1})
