"""Where items of many lists stand among others: a cell for each item of each list."""

import threading
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.radix import radix_order

CELLS = 1 << 22
"""16 MB, of which lists use one part after the other: what one list touches stays in the cache."""


class Keys(NamedTuple):
    """Items of lists, in any order: two arrays [N]."""

    owner: NDArray[np.int64]
    """Number of the list."""
    rows: NDArray[np.int64]
    """At least 0."""


class _Cells(threading.local):
    """Kept from call to call: fresh pages of this size would cost more than the search."""

    table: NDArray[np.int32] = np.zeros(0, np.int32)

    def at_least(self, size: int) -> NDArray[np.int32]:
        """So many cells, with whatever was left in them."""
        if len(self.table) < size:
            self.table = np.zeros(max(size, CELLS), np.int32)
        return self.table


_cells = _Cells()


def places_of(wanted: Keys, keys: Keys, lists: int) -> NDArray[np.int64]:
    """The place of each of M items among N others of the same lists, int64 [M]; -1 for none.

    Args:
        wanted: the M items.
        keys: the N items; of copies any one is found.
        lists: how many there are.
    """
    if not len(keys.rows):
        return np.full(len(wanted.rows), -1, np.int64)
    span = 1 + max(int(keys.rows.max()), int(wanted.rows.max(initial=0)))
    at_once = max(CELLS // span, 1)
    if lists <= at_once:
        return _places(wanted.owner * span + wanted.rows, keys.owner * span + keys.rows)
    found = np.full(len(wanted.rows), -1, np.int64)
    parts = -(-lists // at_once)
    mine, theirs = (_in_parts(each.owner // at_once, parts) for each in (keys, wanted))
    for part, (some, asked) in enumerate(zip(mine, theirs, strict=True)):
        first = part * at_once
        at = _places(
            (wanted.owner[asked] - first) * span + wanted.rows[asked],
            (keys.owner[some] - first) * span + keys.rows[some],
        )
        found[asked[at >= 0]] = some[at[at >= 0]]
    return found


def _places(wanted: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
    if not len(keys):
        return np.full(len(wanted), -1, np.int64)
    cells = _cells.at_least(1 + max(int(keys.max()), int(wanted.max(initial=0))))
    cells[keys] = np.arange(len(keys), dtype=np.int32)
    # Cells that were not written now point anywhere: what stands there tells.
    at = np.minimum(cells[wanted], len(keys) - 1).astype(np.int64)
    return np.where(keys[at] == wanted, at, -1)


def _in_parts(part: NDArray[np.int64], count: int) -> list[NDArray[np.int64]]:
    """The places of each part's elements, in their order."""
    sizes = np.bincount(part, minlength=count)
    return np.split(radix_order(part, count), np.cumsum(sizes)[:-1])
