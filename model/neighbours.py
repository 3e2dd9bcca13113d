"""Item-kNN: items that occur together, by the cosine of their occurrences, the nearest k of each.

After Sarwar et al., "Item-based collaborative filtering recommendation algorithms" (2001). An item
counts once a sequence; the order plays no part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from model.choice import Budget, Choice, choose
from model.method import Scores, Setting
from model.ranks import Objective, judge
from model.sequences import Cases, Sequences
from model.sparse_rows import SparseRows
from model.transitions import Pairs, TransitionSettings

UNORDERED = TransitionSettings(gap_decay=1, gap_power=0, backward=1, count_power=1, recency=0)
"""Every pair counts 1, whichever came first."""


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


class ItemNeighbours:
    """The method.

    Args:
        objective: what settings are chosen by.
        start: settings to begin with, and to keep where there is no validation.
        grid: ordered values to choose from.
        budget: of the choice.
        cases: at most so many validation cases are judged in each trial.
        reach: distinct items of a sequence that are further apart are not counted.
        seed: draws those cases.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        start: NeighbourSettings | None = None,
        grid: Mapping[str, Sequence[float]] | None = None,
        budget: Budget | None = None,
        cases: int = 5000,
        reach: int = 100,
        seed: int = 0,
    ) -> None:
        self._objective = objective
        self._settings = start or NeighbourSettings()
        self._grid = GRID if grid is None else grid
        self._budget = budget or Budget()
        self._cases = cases
        self._reach = reach
        self._seed = seed
        self.choice: Choice | None = None
        """How the settings were chosen; None where they were given."""

    def fit(self, train: Sequences, validation: Cases | None = None) -> None:
        """Learn; with ``validation``, choose the settings on it first."""
        together, occurrences = self._count(train)
        if validation is not None:
            sample = validation.sample(self._cases, self._seed)

            def worth(candidate: Mapping[str, Setting]) -> float:
                self._settings = _settings(candidate)
                self._table = self._similar(together, occurrences)
                return self._objective(judge(self, sample))

            self.choice = choose(worth, asdict(self._settings), self._grid, self._budget)
            self._settings = _settings(self.choice.settings)
        self._table = self._similar(together, occurrences)

    def refit(self, train: Sequences) -> None:
        """Learn from other sequences with the settings as they are."""
        self._table = self._similar(*self._count(train))

    def scores(self, histories: Sequences) -> Scores:
        """[B, items]."""
        newest = histories.newest(self._settings.history)
        return self._table.weighted_sums(newest, np.ones(len(newest.items)))

    def settings(self) -> Mapping[str, Setting]:
        """The settings in force."""
        return asdict(self._settings)

    def _count(self, train: Sequences) -> tuple[SparseRows, NDArray[np.int64]]:
        distinct = once_each(train)
        return Pairs(distinct, self._reach).counts(UNORDERED), distinct.counts()

    def _similar(self, together: SparseRows, occurrences: NDArray[np.int64]) -> SparseRows:
        norms = np.sqrt(occurrences.astype(np.float64))
        product = norms[together.rows] * norms[together.columns]
        cosine = together.values / (product + self._settings.shrinkage)
        nearest = replace(together, values=cosine.astype(np.float32))
        return nearest.strongest(self._settings.neighbours)


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


def _settings(values: Mapping[str, Setting]) -> NeighbourSettings:
    return NeighbourSettings(**cast(Mapping[str, int], values))
