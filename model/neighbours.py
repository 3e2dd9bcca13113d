"""Item-kNN: items that occur together, by the cosine of their occurrences, the nearest k of each.

After Sarwar et al., "Item-based collaborative filtering recommendation algorithms" (2001). An item
counts once a sequence; the order plays no part.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.method import Scores
from model.sequences import Sequences
from model.sparse_rows import SparseRows
from model.transitions import Pairs, TransitionSettings
from model.tuned import Tuned

UNORDERED = TransitionSettings(gap_decay=1, gap_power=0, backward=1, count_power=1, recency=0)
"""Every pair counts 1, whichever came first."""
REACH = 100
"""Distinct items of a sequence that are further apart are not counted."""


@dataclass(frozen=True)
class NeighbourSettings:
    """The knobs."""

    neighbours: int = 200
    shrinkage: float = 10.0
    """Added to the norms: rare items are less sure of their neighbours."""
    history: int = 50
    """How many of the newest events are looked from."""


GRID: dict[str, tuple[float, ...]] = {
    "history": (1, 2, 5, 10, 20, 50, 100),
    "neighbours": (50, 100, 200, 500),
    "shrinkage": (0.0, 3.0, 10.0, 30.0, 100.0),
}


@dataclass(frozen=True)
class Counted:
    """What does not depend on settings."""

    together: SparseRows
    occurrences: NDArray[np.int64]


class ItemNeighbours(Tuned[NeighbourSettings, Counted]):
    """The method."""

    DEFAULTS = NeighbourSettings()
    GRID = GRID

    def scores(self, histories: Sequences) -> Scores:
        """[B, items]."""
        newest = histories.newest(self._settings.history)
        return self._table.weighted_sums(newest, np.ones(len(newest.items)))

    def _count(self, train: Sequences) -> Counted:
        distinct = once_each(train)
        return Counted(Pairs(distinct, REACH).counts(UNORDERED), distinct.counts())

    def _learn(self, counted: Counted) -> None:
        together = counted.together
        norms = np.sqrt(counted.occurrences.astype(np.float64))
        product = norms[together.rows] * norms[together.columns]
        cosine = together.values / (product + self._settings.shrinkage)
        nearest = replace(together, values=cosine.astype(np.float32))
        self._table = nearest.strongest(self._settings.neighbours)


class Meetings(NamedTuple):
    """Pairs of different items that meet, both ways; three arrays [P], first items ascending."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    weights: NDArray[np.float64]


def meetings(train: Sequences, reach: int) -> Meetings:
    """How often items meet: those k events apart count 1 / k, and beyond ``reach`` nothing."""
    counted = Pairs(train, reach).counts(replace(UNORDERED, gap_power=1.0))
    others = counted.rows != counted.columns
    return Meetings(
        counted.rows[others],
        counted.columns[others],
        counted.values[others].astype(np.float64),
    )


def once_each(sequences: Sequences) -> Sequences:
    """Each item once a sequence, where it last occurred."""
    cells = sequences.rows * sequences.item_count + sequences.items
    _, back = np.unique(cells[::-1], return_index=True)
    kept = np.sort(len(cells) - 1 - back)
    starts = np.searchsorted(kept, sequences.starts)
    return replace(
        sequences,
        items=sequences.items[kept],
        starts=starts.astype(np.int64),
        times=None if sequences.times is None else sequences.times[kept],
        kinds=None if sequences.kinds is None else sequences.kinds[kept],
    )
