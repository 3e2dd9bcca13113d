"""Each source brings its items, each item keeps all of its sources, nothing removed comes along."""

from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest

import serving.candidates
from model.ids import item_hashes
from model.items import Item
from model.signals import NEIGHBOURS, POPULAR, SEEDS
from serving.candidates import (
    Candidates,
)
from serving.list_request import ListRequest, RequestTable
from serving.neighbour_cache import NeighbourCache
from serving.parts import Parts
from serving.recommendation import SOURCE_BIT, SOURCES, AsOf
from tests.parts import DAY_MS, NOW, click, open_parts, profile, records_of, take

ITEMS = [Item(item_id=name, title=f"title {name}") for name in "abcdefgh"]


@pytest.fixture
async def parts(redis_url: str) -> AsyncIterator[Parts]:
    async with open_parts(redis_url, ITEMS) as opened:
        yield opened


def request(
    *, history: Sequence[str] = (), bought: Sequence[str] = (), query: str | None = None
) -> ListRequest:
    """A request of someone who clicked ``history``, oldest first, and bought ``bought`` today."""
    past = profile(seen=history, bought=bought)
    return ListRequest("u", "e", NOW, AsOf("events", 0, 0), past, query)


async def gather(parts: Parts, asked: ListRequest) -> Candidates:
    (found,) = await parts.candidates.gather(RequestTable([asked]))
    assert (np.diff(found.rows) > 0).all(), "distinct, in rising order"
    sizes = {len(value) for value in (found.sources, found.repeat, found.together, found.match)}
    assert sizes == {len(found.rows)} == {len(found.popular)}
    return found


def by_source(parts: Parts, found: Candidates) -> dict[str, set[str]]:
    """The ids that each source brought."""
    return {
        source: {
            parts.catalog.items[row].item_id
            for row, bits in zip(found.rows, found.sources, strict=True)
            if bits & SOURCE_BIT[source]
        }
        for source in SOURCES
    }


async def visits(parts: Parts, *baskets: str) -> None:
    """Other users click these items together, then the popular ones are read."""
    events = [click(f"other {at}", item) for at, basket in enumerate(baskets) for item in basket]
    await take(parts, records_of(events))
    await parts.candidates.refresh_popular()


async def test_each_source_brings_its_own(parts: Parts) -> None:
    await visits(parts, "ab", "ac", "ab")
    found = await gather(parts, request(history="a", bought="gh", query="title e"))
    assert by_source(parts, found) == {
        "search": set("abcdefgh"),
        "repeat": set("gh"),
        "together": set("bc"),
        "nearest": set(),
        "popular": set("abc"),
        "chosen": set(),
        "new": set(),
        "rule": set(),
    }


async def test_the_signals_are_what_was_counted(parts: Parts) -> None:
    await visits(parts, "ab", "ac", "ab", "bc")
    found = await gather(parts, request(history="ab", bought="cc", query="title e"))
    ids = [parts.catalog.items[row].item_id for row in found.rows]
    together = dict(zip(ids, found.together.tolist(), strict=True))
    assert together["c"] == pytest.approx(2), "once with a, once with b"
    assert together["a"] == pytest.approx(2)
    popular = dict(zip(ids, found.popular.tolist(), strict=True))
    assert (popular["a"], popular["b"], popular["e"]) == pytest.approx((3, 3, 0))
    assert dict(zip(ids, found.repeat.tolist(), strict=True))["c"] == pytest.approx(2)
    match = dict(zip(ids, found.match.tolist(), strict=True))
    assert match["e"] == pytest.approx(1) and 0 < match["a"] < 1
    assert found.popular.dtype == found.match.dtype == found.repeat.dtype == np.float32


async def test_popularity_counts_by_the_time_of_the_request(parts: Parts) -> None:
    await visits(parts, "a")
    rows = np.array([0, 1, -1, 10_000])
    asked = RequestTable([request(), request()._replace(time=NOW + 14 * DAY_MS)])
    units = (await parts.candidates.gather(asked)).units[:, None]
    now, later = parts.candidates.popularity(np.stack([rows, rows]), units)
    assert now.tolist() == pytest.approx([1, 0, 0, 0])
    assert later.tolist() == pytest.approx([0.5, 0, 0, 0])


async def test_nothing_is_known_of_a_newcomer_in_an_empty_shop(redis_url: str) -> None:
    async with open_parts(redis_url) as parts:
        await parts.candidates.refresh_popular()
        asked = request(history="a", bought="b", query="c")
        assert len((await gather(parts, asked)).rows) == 0
        assert len((await gather(parts, request())).rows) == 0
        assert len(await parts.candidates.gather(RequestTable([]))) == 0


@pytest.mark.parametrize("source", ["search", "repeat", "together", "popular"])
async def test_no_source_brings_what_was_removed(parts: Parts, source: str) -> None:
    await visits(parts, "ab", "ac")
    asked = request(history="a", bought="bc", query="title")
    assert {"b", "c"} <= by_source(parts, await gather(parts, asked))[source]
    parts.catalog.remove("b")
    parts.catalog.put(Item(item_id="c", title="title c", available=False))
    assert not {"b", "c"} & by_source(parts, await gather(parts, asked))[source]


async def test_a_changed_title_keeps_its_neighbours_and_its_buyers(parts: Parts) -> None:
    await visits(parts, "ab")
    asked = request(history="a", bought="b", query="手机")
    await gather(parts, asked)
    parts.catalog.put(Item(item_id="b", title="智能手机"))
    found = by_source(parts, await gather(parts, asked))
    assert "b" in found["together"] & found["repeat"] & found["search"]


async def test_a_new_item_is_found_at_once(parts: Parts) -> None:
    await visits(parts, "ax")
    asked = request(history="a", bought="x", query="brandnew")
    assert "x" not in set().union(*by_source(parts, await gather(parts, asked)).values())
    parts.catalog.put(Item(item_id="x", title="brandnew"))
    found = by_source(parts, await gather(parts, asked))
    assert "x" in found["together"] & found["repeat"] & found["search"]


async def test_a_tie_names_the_item_that_it_comes_from(parts: Parts) -> None:
    await visits(parts, "ab", "ac", "ab")
    ties = (await gather(parts, request(history="ba"))).ties
    named = {
        (int(seed), parts.catalog.items[row].item_id): weight
        for seed, row, weight in zip(ties.seeds, ties.rows, ties.weights, strict=True)
    }
    a, b = item_hashes("ab").tolist()
    assert set(named) == {(a, "b"), (a, "c"), (b, "a")}
    assert named[a, "b"] == pytest.approx(2 * named[a, "c"])


async def test_only_the_newest_distinct_items_are_asked_for(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Sequence[int]] = []
    read = parts.counts.neighbours

    async def spied(items: Sequence[int], most: int) -> object:
        asked.append(items)
        assert most == NEIGHBOURS
        return await read(items, most)

    monkeypatch.setattr(parts.counts, "neighbours", spied)
    history = [f"i{at}" for at in range(100)] + ["twice"] * 5
    await gather(parts, request(history=history))
    newest = ["twice", *(f"i{at}" for at in range(99, 99 - SEEDS + 1, -1))]
    assert [set(each) for each in asked] == [set(item_hashes(newest).tolist())]
    assert len(asked[0]) == SEEDS


async def test_neighbours_are_read_again_when_they_are_stale(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 1000.0
    monkeypatch.setattr(serving.candidates, "monotonic", lambda: clock)
    asked = request(history="a")
    assert by_source(parts, await gather(parts, asked))["together"] == set()
    await visits(parts, "ab")
    clock += serving.candidates.NEIGHBOURS_FRESH_S
    assert by_source(parts, await gather(parts, asked))["together"] == set()
    clock += 0.01
    assert by_source(parts, await gather(parts, asked))["together"] == {"b"}


async def test_the_cache_is_bounded(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts.candidates, "_sets", NeighbourCache(parts.catalog, 3))
    for item in "abcdefgh":
        await gather(parts, request(history=item))
    assert 0 < len(parts.candidates._sets) <= 3
    many = RequestTable([request(history=item) for item in "abcdefgh"])
    assert len(await parts.candidates.gather(many)) == 8


async def test_as_many_popular_ones_as_a_list_can_use(redis_url: str) -> None:
    items = [Item(item_id=f"i{at}") for at in range(POPULAR + 20)]
    async with open_parts(redis_url, items) as parts:
        events = [click(f"u{at}", item.item_id) for at, item in enumerate(items)]
        events += [click(f"v{at}", item.item_id) for at, item in enumerate(items[20:])]
        await take(parts, records_of(events))
        await parts.candidates.refresh_popular()
        popular = by_source(parts, await gather(parts, request()))["popular"]
        assert popular == {item.item_id for item in items[20:]}
        parts.catalog.remove("i50")
        popular = by_source(parts, await gather(parts, request()))["popular"]
        assert "i50" not in popular and len(popular) == POPULAR


def test_every_kind_of_source_has_its_own_bit() -> None:
    assert set(SOURCE_BIT.values()) <= {1 << at for at in range(8)}
    assert len(set(SOURCE_BIT.values())) == len(SOURCES)
