"""What lists read of the shared co-visits, held for a few seconds: a table with a row per item.

A list has ten seeds of up to 64 neighbours. In tables the neighbours of all lists of a micro-batch
are taken out at once, and the catalogue's row of each is looked up once.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.ragged import ranges
from model.signals import NEIGHBOURS
from serving.catalog import Catalog
from serving.counts import Neighbours
from serving.hash_table import HashTable

FIRST_CAPACITY = 256
KEPT_SHARE = 0.75
"""Of a full table that has to make room: finding the items used last costs a sort."""


class Held(NamedTuple):
    """The neighbours of S items, one item after the other."""

    sizes: NDArray[np.int64]
    """int64 [S]: how many each has."""
    rows: NDArray[np.int64]
    """Of the catalogue, -1 where a neighbour has none."""
    weights: NDArray[np.float64]
    """Forward-decayed."""


class _Tables(NamedTuple):
    """Columns of C items, and of up to 64 neighbours of each."""

    items: NDArray[np.uint64]
    read_s: NDArray[np.float64]
    used_s: NDArray[np.float64]
    editions: NDArray[np.int64]
    """Of the catalogue, for the rows."""
    sizes: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    rows: NDArray[np.int64]
    weights: NDArray[np.float64]


def _empty(capacity: int) -> _Tables:
    shape = (capacity, NEIGHBOURS)
    return _Tables(
        items=np.zeros(capacity, np.uint64),
        read_s=np.zeros(capacity),
        used_s=np.zeros(capacity),
        editions=np.zeros(capacity, np.int64),
        sizes=np.zeros(capacity, np.int64),
        hashes=np.zeros(shape, np.uint64),
        rows=np.zeros(shape, np.int64),
        weights=np.zeros(shape),
    )


class NeighbourCache:
    """Neighbours of the items that were asked for last.

    Args:
        catalog: whose rows they get.
        capacity: items, of 1.5 KB each; more are held only where one micro-batch needs more.
    """

    def __init__(self, catalog: Catalog, capacity: int) -> None:
        self._catalog = catalog
        self._capacity = capacity
        self._held = 0
        self._slot_of = HashTable()
        self._tables = _empty(min(FIRST_CAPACITY, capacity))

    def __len__(self) -> int:
        """How many items are held."""
        return self._held

    def stale(self, items: NDArray[np.uint64], now_s: float, fresh_s: float) -> NDArray[np.uint64]:
        """Those item hashes that are not held, or were read more than ``fresh_s`` ago.

        Args:
            items: may come several times.
            now_s: seconds of any clock that never goes back.
            fresh_s: how old what was read may be.

        Returns:
            Distinct, in rising order.
        """
        slots = self._slot_of.find(items)
        is_held = slots >= 0
        is_stale = ~is_held | (now_s - self._tables.read_s[slots] > fresh_s)
        self._tables.used_s[slots[is_held]] = now_s
        return np.unique(items[is_stale])

    def put(self, items: NDArray[np.uint64], found: Sequence[Neighbours], now_s: float) -> None:
        """Hold what was read at ``now_s``: of each distinct hash at most ``NEIGHBOURS``."""
        slots = self._slot_of.find(items)
        self._tables.used_s[slots[slots >= 0]] = now_s
        fresh = items[slots < 0]
        self._make_room(len(fresh), now_s)
        slots = np.arange(self._held, self._held + len(fresh))
        self._slot_of.put(fresh, slots)
        self._tables.items[slots] = fresh
        self._held += len(fresh)
        slots, tables = self._slot_of.find(items), self._tables
        sizes = np.array([len(each.items) for each in found], np.int64)
        cells = ranges(slots * NEIGHBOURS, sizes)
        tables.sizes[slots] = sizes
        tables.hashes.ravel()[cells] = np.concatenate([each.items for each in found])
        tables.weights.ravel()[cells] = np.concatenate([each.weights for each in found])
        tables.read_s[slots] = tables.used_s[slots] = now_s
        self._find_rows(slots)

    def take(self, items: NDArray[np.uint64], most: int = NEIGHBOURS) -> Held:
        """The neighbours of S item hashes, which may come several times.

        Args:
            items: or other sets of the shared counts, by their numbers.
            most: of each, the strongest.

        Raises:
            KeyError: one is not held.
        """
        slots, tables = self._slot_of.find(items), self._tables
        if (slots < 0).any():
            raise KeyError(f"the neighbours of {items[slots < 0][0]} are not held")
        moved = slots[tables.editions[slots] != self._catalog.edition]
        if len(moved):
            self._find_rows(np.unique(moved))
        sizes = np.minimum(tables.sizes[slots], most)
        cells = ranges(slots * NEIGHBOURS, sizes)
        return Held(sizes, tables.rows.ravel()[cells], tables.weights.ravel()[cells])

    def _find_rows(self, slots: NDArray[np.int64]) -> None:
        tables = self._tables
        cells = ranges(slots * NEIGHBOURS, tables.sizes[slots])
        tables.rows.ravel()[cells] = self._catalog.rows_of_hashes(tables.hashes.ravel()[cells])
        tables.editions[slots] = self._catalog.edition

    def _make_room(self, more: int, now_s: float) -> None:
        """Tables for so many more items: larger ones, or without those that were used least."""
        held, used_s = self._held, self._tables.used_s
        if held + more <= min(len(used_s), self._capacity):
            return
        kept = np.arange(held)
        if held + more > self._capacity:
            # What is needed this moment stays, however much it is; so does what another task, which
            # began later, has marked since: it is sorted first, and would push the former out.
            needed = int((used_s[:held] >= now_s).sum())
            size = max(needed, round(KEPT_SHARE * self._capacity) - more, 0)
            kept = np.argsort(-used_s[:held], kind="stable")[:size]
        tables = _empty(max(len(kept) + more, min(2 * len(used_s), self._capacity)))
        for old, new in zip(self._tables, tables, strict=True):
            new[: len(kept)] = old[kept]
        self._held, self._tables = len(kept), tables
        self._slot_of = HashTable()
        self._slot_of.put(tables.items[: len(kept)], np.arange(len(kept)))
