"""What lists read of the shared co-visits, held for a few seconds: a table with a row per item.

A list has ten seeds of up to 64 neighbours. In tables the neighbours of all lists of a micro-batch
are taken out at once, and the catalogue's row of each is looked up once.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.signals import NEIGHBOURS
from serving.catalog import Catalog
from serving.counts import Neighbours

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
        self._slot_of: dict[int, int] = {}
        """In the order of the slots, which are 0, 1, 2 and so on."""
        self._tables = _empty(min(FIRST_CAPACITY, capacity))

    def __len__(self) -> int:
        """How many items are held."""
        return len(self._slot_of)

    def stale(self, items: Sequence[int], now_s: float, fresh_s: float) -> list[int]:
        """Those item hashes that are not held, or were read more than ``fresh_s`` ago.

        Args:
            items: distinct.
            now_s: seconds of any clock that never goes back.
            fresh_s: how old what was read may be.
        """
        slots = np.array([self._slot_of.get(item, -1) for item in items], np.int64)
        is_stale = (slots < 0) | (now_s - self._tables.read_s[slots] > fresh_s)
        self._tables.used_s[slots[slots >= 0]] = now_s
        return [items[at] for at in np.flatnonzero(is_stale).tolist()]

    def put(self, items: Sequence[int], found: Sequence[Neighbours], now_s: float) -> None:
        """Hold what was read at ``now_s``: of each item hash at most ``NEIGHBOURS``."""
        self._make_room(sum(item not in self._slot_of for item in items), now_s)
        tables = self._tables
        for item, each in zip(items, found, strict=True):
            slot = self._slot_of.setdefault(item, len(self._slot_of))
            size = len(each.items)
            tables.sizes[slot] = size
            tables.hashes[slot, :size] = each.items
            tables.weights[slot, :size] = each.weights
            tables.read_s[slot] = tables.used_s[slot] = now_s
            self._find_rows(slot)

    def take(self, items: Sequence[int]) -> Held:
        """The neighbours of S item hashes, which may come several times.

        Raises:
            KeyError: one is not held.
        """
        slots = np.array([self._slot_of[item] for item in items], np.int64)
        tables = self._tables
        moved = slots[tables.editions[slots] != self._catalog.edition]
        for slot in set(moved.tolist()):
            self._find_rows(slot)
        sizes = tables.sizes[slots]
        is_there = np.arange(NEIGHBOURS) < sizes[:, None]
        return Held(sizes, tables.rows[slots][is_there], tables.weights[slots][is_there])

    def _find_rows(self, slot: int) -> None:
        tables, size = self._tables, self._tables.sizes[slot]
        tables.rows[slot, :size] = self._catalog.rows_of_hashes(tables.hashes[slot, :size])
        tables.editions[slot] = self._catalog.edition

    def _make_room(self, more: int, now_s: float) -> None:
        """Tables for so many more items: larger ones, or without those that were used least."""
        held, used_s = len(self._slot_of), self._tables.used_s
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
        items = list(self._slot_of)
        self._slot_of = {items[slot]: at for at, slot in enumerate(kept.tolist())}
        self._tables = tables
