"""Many lists at once give bit for bit what each of them gives alone."""

from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from model.pool_table import (
    Entries,
    PoolTable,
    best_of_lists,
    entries_of_lists,
    only_usable,
    unite_lists,
    with_nearest_of_lists,
)
from model.signals import Origin, Pool, Weighted
from tests.plain_pools import Found, best, unite, with_nearest

TABLE = 60
"""Rows of the catalogue."""
NEAREST = 8
SOURCES = {Origin.SEARCH: 4, Origin.REPEAT: 6, Origin.TOGETHER: 70, Origin.POPULAR: 9}
"""The most entries that each has for one list."""


def not_seven(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """All rows may be recommended, but one."""
    may: NDArray[np.bool_] = (rows >= 0) & (rows != 7)
    return may


def popularity(rows: NDArray[np.int64], number: NDArray[np.int64]) -> NDArray[np.float32]:
    """Of rows in the list of that number: as of another time in each list."""
    return (rows / (number + 3)).astype(np.float32)


@dataclass(frozen=True)
class Lists:
    """What was found for some lists, and what the network says."""

    found: list[Found]
    scores: list[NDArray[np.float32]]
    nearest: NDArray[np.int64]
    nearest_scores: NDArray[np.float32]

    def alone(self) -> list[Pool]:
        """The pool of each list, made by itself."""
        return [
            unite(each, not_seven, partial(popularity, number=np.array(number)))
            for number, each in enumerate(self.found)
        ]

    def together(self) -> PoolTable:
        """All pools in one table."""
        return self.united()[0]

    def united(self) -> tuple[PoolTable, dict[Origin, NDArray[np.int64]]]:
        """And where the entries of each source have come to stand."""
        return unite_lists(self.columns(), len(self.found), popularity)

    def columns(self) -> dict[Origin, Entries]:
        """What may be recommended of what each source has."""
        return {
            origin: only_usable(
                entries_of_lists([each.of(origin) for each in self.found]), not_seven
            )
            for origin in SOURCES
        }


def lists(seed: int, count: int) -> Lists:
    """Of random sizes, empty ones among them; rows occur several times, and some are unknown."""
    chance = np.random.default_rng(seed)

    def some(origin: Origin) -> Weighted:
        size = int(chance.integers(0, SOURCES[origin] + 1))
        return Weighted(chance.integers(-1, TABLE, size), chance.random(size) * 3)

    found = []
    for _ in range(count):
        popular = chance.permutation(TABLE)[: chance.integers(0, SOURCES[Origin.POPULAR])]
        found.append(
            Found(some(Origin.REPEAT), some(Origin.TOGETHER), popular, some(Origin.SEARCH))
        )
    found[count // 2] = Found(
        *(Weighted(np.empty(0, np.int64), np.empty(0)),) * 2, np.empty(0, int)
    )
    made = Lists(found, [], np.empty(0, np.int64), np.empty(0, np.float32))
    # Whole numbers, so that lists have equal scores to put in order.
    scores = [chance.integers(0, 5, len(p.rows)).astype(np.float32) for p in made.alone()]
    nearest = np.stack([chance.permutation(TABLE + 4)[:NEAREST] for _ in range(count)])
    nearest[nearest >= TABLE] = -1
    return Lists(found, scores, nearest, chance.integers(0, 5, nearest.shape).astype(np.float32))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("count", [1, 2, 23])
def test_pools_are_those_of_the_lists_alone(seed: int, count: int) -> None:
    given = lists(seed, count)
    table = given.together()
    assert len(table.starts) == count + 1
    assert table.owner.tolist() == np.repeat(np.arange(count), np.diff(table.starts)).tolist()
    for number, alone in enumerate(given.alone()):
        for column in fields(Pool):
            theirs = getattr(table.pool_of(number), column.name)
            ours = getattr(alone, column.name)
            assert theirs.dtype == ours.dtype and theirs.tolist() == ours.tolist(), column.name


@pytest.mark.parametrize("seed", range(4))
def test_each_entry_is_told_where_it_has_come_to_stand(seed: int) -> None:
    given = lists(seed, 23)
    table, places = given.united()
    for origin, entries in given.columns().items():
        assert table.pool.rows[places[origin]].tolist() == entries.rows.tolist()
        assert table.owner[places[origin]].tolist() == entries.owner.tolist()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("length", [1, 10, 1000])
def test_the_nearest_join_and_the_best_are_chosen_as_in_the_lists_alone(
    seed: int, length: int
) -> None:
    given = lists(seed, 23)
    table = given.together()
    own = np.arange(23)[:, None]
    popular = popularity(given.nearest, own)
    before = table.pool.sources.copy()
    joined = with_nearest_of_lists(
        table, np.concatenate(given.scores), given.nearest, given.nearest_scores, popular, not_seven
    )
    assert (table.pool.sources == before).all(), "the table itself is as it was"
    chosen = best_of_lists(
        joined.owner, joined.pool.match, joined.network, joined.pool.rows, lists=23, length=length
    )
    sizes = []
    for number, pool in enumerate(given.alone()):
        merged, scores = with_nearest(
            pool, given.scores[number], given.nearest[number], given.nearest_scores[number],
            popular[number], not_seven,
        )  # fmt: skip
        here = np.flatnonzero(joined.owner == number)
        assert joined.network[here].tolist() == scores.tolist()
        for column in fields(Pool):
            theirs = getattr(joined.pool, column.name)[here]
            assert theirs.tolist() == getattr(merged, column.name).tolist(), column.name
        places = chosen.places[slice(*(0, *chosen.ends.tolist())[number : number + 2])]
        expected = best(merged.match, scores, merged.rows, length)[:length]
        assert joined.pool.rows[places].tolist() == merged.rows[expected].tolist()
        assert (joined.owner[places] == number).all()
        sizes.append(len(places))
    assert min(sizes) < max(sizes) <= length or length == 1 == max(sizes)


def test_no_lists_have_no_candidates() -> None:
    nothing = Entries(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    table, places = unite_lists(dict.fromkeys(SOURCES, nothing), 0, popularity)
    assert [len(each) for each in places.values()] == [0] * len(SOURCES)
    assert table.starts.tolist() == [0]
    chosen = best_of_lists(
        table.owner, table.pool.match, table.pool.popular, table.pool.rows, lists=0, length=10
    )
    assert chosen.places.tolist() == chosen.ends.tolist() == []


def test_what_scores_minus_infinity_is_in_no_list() -> None:
    scores = np.array([1, -np.inf, 0, -np.inf], np.float32)
    match = np.array([0, 1, 0, 0], np.float32)
    owner = np.array([0, 0, 0, 1])
    chosen = best_of_lists(owner, match, scores, np.arange(4), lists=2, length=3)
    assert (chosen.places.tolist(), chosen.ends.tolist()) == ([0, 2], [2, 2])


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("length", [1, 3, 10])
def test_what_is_reserved_stands_behind_the_best_of_the_rest(seed: int, length: int) -> None:
    chance = np.random.default_rng(seed)
    sizes = chance.integers(0, 14, 9)
    owner, count = np.repeat(np.arange(9), sizes), int(sizes.sum())
    scores = chance.permutation(count).astype(np.float32)
    scores[chance.random(count) < 0.1] = -np.inf
    match = chance.choice([0, 0.5, 1], count).astype(np.float32)
    reserved = np.flatnonzero(chance.random(count) < 0.2)
    chosen = best_of_lists(
        owner, match, scores, np.arange(count), lists=9, length=length, reserved=reserved
    )
    for number in range(9):
        held = [at for at in np.flatnonzero(owner == number).tolist() if scores[at] > -np.inf]
        behind = [at for at in held if at in reserved]
        behind = sorted(behind, key=lambda at: -scores[at])[: length - 1]
        rest = [at for at in held if at not in behind]
        rest.sort(key=lambda at: (-np.ceil(match[at] * 10), -scores[at]))
        here = slice(*(0, *chosen.ends.tolist())[number : number + 2])
        assert chosen.places[here].tolist() == rest[: length - len(behind)] + behind
