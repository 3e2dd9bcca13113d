"""Candidates and signals on tables small enough to be counted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.events import INTERACTION_KINDS, Cart, Click, Favorite, Interaction, Purchase, Rating
from model.features import DAY_MS, Histories, Interactions, Purchases, PurchaseTable
from model.key_places import Keys
from model.pool_table import (
    PoolTable,
    entries_of_lists,
    may_return,
    only_usable,
    unite_lists,
    with_nearest_of_lists,
)
from model.signals import (
    SEEDS,
    Origin,
    Pool,
    Weighted,
    looked_at,
    own_repeat,
    seeds_of,
    strongest,
)


def rows(*numbers: int) -> NDArray[np.int64]:
    return np.array(numbers, np.int64)


def weighted(**values: float) -> Weighted:
    """``r3=0.5`` is row 3 with the value 0.5; ``none=1`` has no row."""
    numbers = [int(name[1:]) if name != "none" else -1 for name in values]
    return Weighted(rows(*numbers), np.array(list(values.values())))


def history(*items: int, kind: type[Interaction] = Click) -> Interactions:
    """These items, oldest first."""
    size = len(items)
    kinds = np.full(size, INTERACTION_KINDS[kind], np.uint8)
    return Interactions(np.array(items, np.uint64), kinds, np.arange(size, dtype=np.int64))


def not_seven(some: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Row 7 is out of stock."""
    usable: NDArray[np.bool_] = (some >= 0) & (some != 7)
    return usable


def popularity(some: NDArray[np.int64]) -> NDArray[np.float32]:
    return (100 - some).astype(np.float32)


@pytest.fixture
def pool() -> Pool:
    return united(
        repeat=weighted(r4=0.5, none=9.0, r7=3.0),
        together=Weighted(rows(2, 4, 2, 7, -1), np.array([1.0, 2.0, 0.5, 8.0, 8.0])),
        popular=rows(9, 2, 7),
        search=weighted(r1=0.25),
    ).pool


def united(
    repeat: Weighted,
    together: Weighted,
    popular: NDArray[np.int64],
    search: Weighted | None = None,
) -> PoolTable:
    """The candidates of one list."""
    found = {
        Origin.SEARCH: search,
        Origin.REPEAT: repeat,
        Origin.TOGETHER: together,
        Origin.POPULAR: Weighted(popular, np.ones(len(popular))),
    }
    usable = {
        origin: only_usable(entries_of_lists([each]), not_seven) for origin, each in found.items()
    }
    return unite_lists(usable, 1, lambda some, owner: popularity(some))[0]


def test_sources_are_united_and_what_one_brings_twice_adds_up(pool: Pool) -> None:
    assert pool.rows.tolist() == [1, 2, 4, 9]
    assert pool.sources.tolist() == [
        Origin.SEARCH,
        Origin.TOGETHER | Origin.POPULAR,
        Origin.REPEAT | Origin.TOGETHER,
        Origin.POPULAR,
    ]
    assert pool.repeat.tolist() == [0, 0, 0.5, 0]
    assert pool.together.tolist() == [0, 1.5, 2, 0]
    assert pool.match.tolist() == [0.25, 0, 0, 0]
    assert pool.popular.tolist() == [99, 98, 96, 91]


def test_the_networks_own_join_behind_and_mark_what_was_there(pool: Pool) -> None:
    table = PoolTable(pool, np.zeros(4, np.int64), np.array([0, 4]))
    found = with_nearest_of_lists(
        table,
        np.arange(4, dtype=np.float32),
        rows(4, -1, 7, 5, 0)[None],
        np.array([[2, 50, 60, 7, 8]], np.float32),
        popularity(rows(4, -1, 7, 5, 0))[None],
        not_seven,
    )
    joined, scores = found.pool, found.network
    assert joined.rows.tolist() == [1, 2, 4, 9, 5, 0]
    assert scores.tolist() == [0, 1, 2, 3, 7, 8]
    assert joined.sources[2] == Origin.REPEAT | Origin.TOGETHER | Origin.NEAREST
    assert joined.sources[4:].tolist() == [Origin.NEAREST, Origin.NEAREST]
    assert joined.popular.tolist() == [99, 98, 96, 91, 95, 100]
    for values in (joined.repeat, joined.together, joined.match):
        assert values[4:].tolist() == [0, 0]
    assert pool.sources[2] == Origin.REPEAT | Origin.TOGETHER, "the pool itself is as it was"


def test_what_may_return() -> None:
    candidates = Keys(rows(0, 0, 0, 1, 1), rows(1, 2, 3, 1, 2))
    assert may_return(candidates, rows(-1, -1), []).all()
    looking_at = may_return(candidates, rows(2, 1), [])
    assert looking_at.tolist() == [True, False, True, False, True]
    seen = [Keys(rows(0, 1, 0), rows(1, 3, -1)), Keys(rows(1), rows(2))]
    assert may_return(candidates, rows(-1, 1), seen).tolist() == [False, True, True, False, False]


def seeds(*histories: Interactions) -> list[list[int]]:
    """The seeds of each history."""
    items, starts = seeds_of(Histories.of(histories))
    return [each.tolist() for each in np.split(items, starts[1:-1])]


def test_seeds_are_the_newest_distinct_items() -> None:
    found = seeds(history(1, 2, 3, 2), history(), history(*range(100)), history(5))
    assert found == [[2, 3, 1], [], list(range(99, 99 - SEEDS, -1)), [5]]
    assert seeds(history(0, 0, 7)) == [[7, 0]], "0 is a hash like any other"
    assert seeds_of(Histories.of([]))[1].tolist() == [0]


def test_only_the_last_forty_events_are_looked_at_for_seeds() -> None:
    assert seeds(history(*range(20), *[99] * 38)) == [[99, 19, 18]]


def purchases(*days: int) -> PurchaseTable:
    """One item bought by one user."""
    size = len(days)
    items, bought = np.full(size, 7, np.uint64), np.array(days, np.uint16)
    return PurchaseTable.of([Purchases(items, bought)])


def test_a_purchase_counts_half_after_its_half_life() -> None:
    strengths = own_repeat(purchases(100, 90, 80), np.array([100 * DAY_MS + 5]), 10.0)
    assert strengths.tolist() == [1, 0.5, 0.25]


def test_a_purchase_of_tomorrow_counts_as_one_of_today() -> None:
    assert own_repeat(purchases(101), np.array([100 * DAY_MS]), 10.0).tolist() == [1]


def test_a_purchase_is_as_old_as_its_own_list_says() -> None:
    user = Purchases(np.array([7], np.uint64), np.array([90], np.uint16))
    table = PurchaseTable.of([user, Purchases(user.items[:0], user.days[:0]), user])
    times = np.array([90, 95, 100]) * DAY_MS
    assert own_repeat(table, times, 10.0).tolist() == [1, 0.5]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(Click, 8), (Cart, 8), (Favorite, None), (Rating, None), (Purchase, None)],
)
def test_clicks_and_carts_are_looked_at(kind: type[Interaction], expected: int | None) -> None:
    assert looked_at(history(5, 8, kind=kind)) == expected
    assert looked_at(history(kind=kind)) is None


@given(st.lists(st.integers(-1, 4), max_size=30), st.integers(1, 12))
def test_the_strongest_are_the_first_of_the_sorted(weights: list[int], most: int) -> None:
    hashes = np.random.default_rng(len(weights)).permutation(len(weights)).astype(np.uint64)
    whole = sorted(
        (at for at, weight in enumerate(weights) if weight > 0),
        key=lambda at: (-weights[at], -int(hashes[at])),
    )
    found = strongest(np.array(weights, np.float64), hashes, most)
    assert found.tolist() == whole[:most]
