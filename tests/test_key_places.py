"""An item is found among those of its own list, in cells or in their order."""

import numpy as np
import pytest

import model.key_places
from model.key_places import Keys, places_of

LISTS = 9


def some(seed: int, count: int, rows: int) -> Keys:
    """Items of lists, in any order."""
    chance = np.random.default_rng(seed)
    return Keys(chance.integers(0, LISTS, count), chance.integers(0, rows, count))


@pytest.mark.parametrize("cells", [1, 1 << 22])
@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize(("count", "rows"), [(0, 5), (60, 40), (200, 3)])
def test_places_are_those_of_the_same_list_and_row(
    cells: int, in_order: bool, count: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model.key_places, "CELLS", cells)
    for seed in range(5):
        keys, wanted = some(seed, count, rows), some(seed + 100, 80, rows + 2)
        if in_order:
            order = np.lexsort((keys.rows, keys.owner))
            keys = Keys(keys.owner[order], keys.rows[order])
        held = set(zip(keys.owner.tolist(), keys.rows.tolist(), strict=True))
        found = places_of(wanted, keys, LISTS)
        for owner, row, place in zip(*map(np.ndarray.tolist, (*wanted, found)), strict=True):
            if (owner, row) in held:
                assert (keys.owner[place], keys.rows[place]) == (owner, row)
            else:
                assert place == -1


def test_nothing_is_found_for_nobody() -> None:
    nothing = Keys(np.empty(0, np.int64), np.empty(0, np.int64))
    assert places_of(nothing, some(1, 5, 5), LISTS).tolist() == []
    assert places_of(nothing, nothing, 0).tolist() == []
