"""Where items of many lists stand among others.

Of a catalogue of some ten thousand items a table has a cell for each item of each list; larger
ones are searched in order, which takes twice as long.
"""

import threading
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.radix import radix_order

CELLS = 1 << 22
"""16 MB: of 12,000 items, those of 340 lists. What is spread wider is in no cache any more."""


class Keys(NamedTuple):
    """Items of lists, in any order: two arrays [N]."""

    owner: NDArray[np.int64]
    """Number of the list."""
    rows: NDArray[np.int64]
    """At least 0."""


class _Cells(threading.local):
    """Kept from call to call: fresh pages of this size would cost more than the search."""

    def __init__(self) -> None:
        self.table = np.zeros(CELLS, np.int32)
        """With whatever the last search has left in it."""


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
    asked, held = wanted.owner * span + wanted.rows, keys.owner * span + keys.rows
    if lists * span <= CELLS:
        return _in_cells(asked, held)
    order = None if (held[1:] >= held[:-1]).all() else radix_order(held, lists * span)
    ordered = held if order is None else held[order]
    at = np.minimum(np.searchsorted(ordered, asked), len(held) - 1)
    return np.where(ordered[at] == asked, at if order is None else order[at], -1)


def _in_cells(asked: NDArray[np.int64], held: NDArray[np.int64]) -> NDArray[np.int64]:
    cells = _cells.table
    cells[held] = np.arange(len(held), dtype=np.int32)
    # Cells that were not written now point anywhere: what stands there tells.
    at = np.minimum(cells[asked], len(held) - 1).astype(np.int64)
    return np.where(held[at] == asked, at, -1)
