"""What a source proposes for many lists, cut and put together: for evaluation and serving."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.pool_table import Entries

NO_ENTRIES = Entries(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


def first_of_lists(entries: Entries, most: int) -> Entries:
    """The first ``most`` entries of each list; ``entries`` stand list after list."""
    owner = entries.owner
    sizes = np.bincount(owner)
    if sizes.max(initial=0) <= most:
        return entries
    kept = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes) < most
    return Entries(owner[kept], entries.rows[kept], entries.values[kept])


def best_rows(scores: NDArray[np.float32], items: NDArray[np.int64], most: int) -> Entries:
    """The ``most`` best of C items for each of L lists, best first, of equals the first.

    Args:
        scores: [L, C].
        items: rows [C].
        most: at least 1.
    """
    left_out = max(scores.shape[1] - most, 0)
    bars = np.partition(scores, left_out, axis=1)[:, left_out]
    owner, places = np.nonzero(scores >= bars[:, None])
    order = np.lexsort((places, -scores[owner, places], owner))
    best = Entries(owner[order], items[places[order]], np.ones(len(order)))
    return first_of_lists(best, most)


def joined(parts: Sequence[Entries]) -> Entries:
    """One behind the other."""
    return Entries(*map(np.concatenate, zip(*parts, strict=True)))


def for_each_list(lists: NDArray[np.int64], rows: NDArray[np.int64]) -> Entries:
    """The same rows for several lists."""
    owner = np.repeat(lists, len(rows))
    return Entries(owner, np.tile(rows, len(lists)), np.ones(len(owner)))
