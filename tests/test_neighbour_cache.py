"""The cache gives back what was put in, in tables that grow, shrink and follow the catalogue."""

import numpy as np
import pytest

from model.features import Vocabulary
from model.ids import item_hashes
from model.items import Item
from model.signals import NEIGHBOURS
from serving.catalog import Catalog
from serving.counts import Neighbours
from serving.neighbour_cache import FIRST_CAPACITY, Held, NeighbourCache

NAMES = [f"i{at}" for at in range(100)]
FRESH_S = 5.0


@pytest.fixture
def catalog() -> Catalog:
    made = Catalog(Vocabulary([]))
    for name in NAMES:
        made.put(Item(item_id=name))
    return made


def neighbours(seed: int, count: int) -> Neighbours:
    """Some of the catalogue's items, and other weights for each seed."""
    chance = np.random.default_rng(seed)
    items = item_hashes(chance.permutation([*NAMES, "unknown"])[:count].tolist())
    return Neighbours(items, np.sort(chance.random(count))[::-1])


def stale(cache: NeighbourCache, seeds: list[int], now_s: float) -> list[int]:
    found: list[int] = cache.stale(np.array(seeds, np.uint64), now_s, FRESH_S).tolist()
    return found


def take(cache: NeighbourCache, seeds: list[int]) -> Held:
    return cache.take(np.array(seeds, np.uint64))


def put(cache: NeighbourCache, seeds: list[int], now_s: float = 1.0) -> None:
    assert stale(cache, seeds, now_s) == sorted(seeds)
    put_in(cache, seeds, now_s)
    assert stale(cache, seeds, now_s) == []


def put_in(cache: NeighbourCache, seeds: list[int], now_s: float) -> None:
    found = [neighbours(seed, seed % (NEIGHBOURS + 1)) for seed in seeds]
    cache.put(np.array(seeds, np.uint64), found, now_s)


def assert_holds(cache: NeighbourCache, seeds: list[int], catalog: Catalog) -> None:
    held = take(cache, seeds)
    expected = [neighbours(seed, seed % (NEIGHBOURS + 1)) for seed in seeds]
    assert held.sizes.tolist() == [len(each.items) for each in expected]
    rows = [catalog.rows_of_hashes(each.items).tolist() for each in expected]
    assert held.rows.tolist() == [row for each in rows for row in each]
    weights = [each.weights.tolist() for each in expected]
    assert held.weights.tolist() == [weight for each in weights for weight in each]


def test_what_was_put_in_comes_out_in_the_order_asked_for(catalog: Catalog) -> None:
    cache = NeighbourCache(catalog, 1000)
    put(cache, [64, 0, 7, 130])
    assert_holds(cache, [7, 64, 0, 7, 130, 64], catalog)
    assert take(cache, []).sizes.tolist() == []
    with pytest.raises(KeyError):
        take(cache, [8])


def test_tables_grow_and_keep_what_they_hold(catalog: Catalog) -> None:
    cache = NeighbourCache(catalog, 10 * FIRST_CAPACITY)
    seeds = list(range(3 * FIRST_CAPACITY))
    for start in range(0, len(seeds), 100):
        put(cache, seeds[start : start + 100], now_s=start)
    assert len(cache) == len(seeds)
    assert_holds(cache, seeds[::-1], catalog)


def test_what_was_used_last_stays(catalog: Catalog) -> None:
    cache = NeighbourCache(catalog, 40)
    put(cache, list(range(40)), now_s=1)
    assert stale(cache, [3, 5, 39], 2.0) == []
    put(cache, list(range(100, 110)), now_s=3)
    assert len(cache) <= 40
    assert_holds(cache, [5, 109, 3, 100, 39], catalog)
    gone = stale(cache, list(range(40)), 4.0)
    assert len(gone) == 40 - (len(cache) - 10) and not {3, 5, 39} & set(gone)


def test_one_micro_batch_may_need_more_than_there_is_room_for(catalog: Catalog) -> None:
    cache = NeighbourCache(catalog, 10)
    put(cache, list(range(8)), now_s=1)
    assert stale(cache, [*range(4), *range(20, 40)], 2.0) == list(range(20, 40))
    put_in(cache, list(range(20, 40)), 2.0)
    assert_holds(cache, [*range(4), *range(20, 40)], catalog)
    put(cache, [50], now_s=3)
    assert len(cache) <= 10, "and no longer than that"


def test_what_a_later_micro_batch_uses_does_not_push_out_what_an_earlier_one_needs(
    catalog: Catalog,
) -> None:
    cache = NeighbourCache(catalog, 10)
    wanted, missing = list(range(10)), list(range(6, 10))
    put(cache, wanted[:6], now_s=1)
    assert stale(cache, wanted, 2.0) == missing
    put(cache, list(range(20, 24)), now_s=3)
    put_in(cache, missing, 2.0)
    assert stale(cache, wanted, 2.0) == []
    assert_holds(cache, [*wanted, *range(20, 24)], catalog)


def test_what_was_read_long_ago_is_stale_until_it_is_read_again(catalog: Catalog) -> None:
    cache = NeighbourCache(catalog, 10)
    put(cache, [1, 2], now_s=1)
    assert stale(cache, [1, 2], 1 + FRESH_S) == []
    assert stale(cache, [2, 3, 1], 1.1 + FRESH_S) == [1, 2, 3]
    cache.put(np.array([1], np.uint64), [neighbours(9, 4)], 1.1 + FRESH_S)
    assert take(cache, [1]).sizes.tolist() == [4]
    assert stale(cache, [1, 2], 1.1 + FRESH_S) == [2]


def test_rows_are_those_of_the_catalogue_now(catalog: Catalog) -> None:
    cache = NeighbourCache(catalog, 10)
    cache.put(
        np.array([1, 2], np.uint64),
        [Neighbours(item_hashes(["i3", "new"]), np.array([2.0, 1.0]))] * 2,
        1.0,
    )
    assert take(cache, [1]).rows.tolist() == [3, -1]
    catalog.remove("i3")
    catalog.put(Item(item_id="new"))
    assert take(cache, [1]).rows.tolist() == [-1, catalog.row_of("new")]
    assert take(cache, [2, 1]).rows.tolist() == [-1, 100] * 2
