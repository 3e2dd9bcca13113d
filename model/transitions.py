"""Tuned counts: what follows what, and how soon, over all sequences.

An item that came k events after another counts ``gap_decay ** (k - 1) * k ** -gap_power`` towards
that pair, and ``backward`` times as much towards the reversed one. The weight of a pair is its
count ** count_power, damped by how common both items are: times (the first one's row sum) **
-row_damping times (the second one's column sum) ** -target_damping. An item's score is the sum over
the history, the newest event counting 1 and each older one ``history_decay`` of the next, plus a
little popularity.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from model.method import Scores
from model.ranks import Objective
from model.sequences import Cases, Sequences
from model.sparse_rows import SparseRows
from model.tuned import Tuned, Tuning

MOST_PAIRS = 30_000_000
"""Pairs held at once, about 20 bytes each; the reach is cut to what fits."""
MOST_REACH = 127
"""Distances are kept in one signed byte."""
LEAST_DECAY = 0.01
"""An event of the history that would weigh less than this is left out."""


@dataclass(frozen=True)
class TransitionSettings:
    """The knobs; the defaults are a fair start on most logs."""

    gap_decay: float = 0.9
    gap_power: float = 0.3
    backward: float = 0.3
    count_power: float = 0.9
    row_damping: float = 0.5
    target_damping: float = 0.2
    history_decay: float = 0.7
    repeat: float = 0.5
    """What an event of the history adds to the score of its own item, before its decay."""
    recency: float = 0.0
    """Doublings of a sequence's weight from the oldest to the newest; 0 where order means
    nothing."""
    back_off: float = 0.001
    """Score of the most popular item, before all else."""


GRID: dict[str, tuple[float, ...]] = {
    "history_decay": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95),
    "count_power": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    "row_damping": (0.0, 0.15, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    "target_damping": (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5),
    "recency": (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0),
    "gap_decay": (0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0),
    "gap_power": (0.0, 0.15, 0.3, 0.5, 0.7, 1.0, 1.3),
    "backward": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0),
    "repeat": (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0),
    "back_off": (0.0, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03),
}
"""Those that matter most come first."""


class Pairs:
    """All ordered pairs of events of one sequence at most ``reach`` events apart.

    Sorted once by (first item, second item), so that any settings are counted in two passes.

    Raises:
        ValueError: when ``reach`` is above 127.
    """

    def __init__(self, sequences: Sequences, reach: int) -> None:
        if reach > MOST_REACH:
            raise ValueError(f"a reach of {reach} is above {MOST_REACH}; give a shorter one")
        size = sequences.item_count
        items = sequences.items.astype(np.int64)
        rows = sequences.rows
        keys, gaps, owners = [], [], []
        reach = _affordable(sequences.lengths, reach)
        for gap in range(1, reach + 1):
            first = np.flatnonzero(rows[gap:] == rows[:-gap])
            earlier, later = items[first], items[first + gap]
            keys += [earlier * size + later, later * size + earlier]
            gaps += [np.full(len(first), gap, np.int8), np.full(len(first), -gap, np.int8)]
            owners += [rows[first].astype(np.int32)] * 2
        together = np.concatenate(keys) if keys else np.empty(0, np.int64)
        order = np.argsort(together, kind="stable")
        ordered = together[order]
        self._firsts = np.flatnonzero(np.diff(ordered, prepend=-1))
        self.keys: NDArray[np.int64] = ordered[self._firsts]
        """Distinct pairs, first item * items + second item, ascending."""
        self._gaps = np.concatenate(gaps)[order] if gaps else np.empty(0, np.int8)
        self._owners = np.concatenate(owners)[order] if owners else np.empty(0, np.int32)
        self._sequence_count = len(sequences)
        self._size = size
        self.reach = reach

    def counts(self, settings: TransitionSettings) -> SparseRows:
        """The counts of every pair to their power, not damped yet."""
        # A negative gap counts from the end of the array, where the backward weights are.
        place = np.arange(2 * self.reach + 1)
        gap = np.maximum(np.minimum(place, len(place) - place), 1).astype(np.float64)
        of_gap = settings.gap_decay ** (gap - 1) * gap**-settings.gap_power
        of_gap[self.reach + 1 :] *= settings.backward
        weights = of_gap[self._gaps]
        if settings.recency:
            age = np.linspace(settings.recency, 0, self._sequence_count)
            weights *= np.exp2(-age)[self._owners]
        sums = np.add.reduceat(weights, self._firsts) if len(self.keys) else weights
        sums **= settings.count_power
        return SparseRows.from_keys(self.keys, sums.astype(np.float32), self._size)


@dataclass(frozen=True)
class Counted:
    """What does not depend on settings."""

    pairs: Pairs
    popularity: NDArray[np.int64]


class Transitions(Tuned[TransitionSettings, Counted]):
    """The method.

    Args:
        objective: what settings are chosen by.
        reach: pairs further apart are not counted; at most 127.
        tuning: see ``Tuned``.
    """

    DEFAULTS = TransitionSettings()
    GRID = GRID
    CASES = 10_000

    def __init__(
        self,
        objective: Objective,
        *,
        reach: int = 50,
        **tuning: Unpack[Tuning[TransitionSettings]],
    ) -> None:
        super().__init__(objective, **tuning)
        self._reach = reach

    def scores(self, histories: Sequences) -> Scores:
        """float64 [B, items]."""
        decay = self._settings.history_decay
        newest = histories.newest(reach_of(decay))
        weights = np.power(decay, newest.ages, dtype=np.float64)
        scores = self._table.weighted_sums(newest, weights)
        scores += self._popularity
        np.add.at(scores, (newest.rows, newest.items), self._settings.repeat * weights)
        return scores

    def following(self, histories: Sequences, weights: NDArray[np.float64]) -> Scores:
        """What follows the items of histories that count as the caller says, and nothing else.

        Args:
            histories: B of them, of N events in all.
            weights: float64 [N].

        Returns:
            [B, items].
        """
        return self._table.weighted_sums(histories, weights)

    def _count(self, train: Sequences) -> Counted:
        return Counted(Pairs(train, self._reach), train.counts())

    def _learn(self, counted: Counted) -> None:
        settings = self._settings
        counts = counted.pairs.counts(settings)
        damped = counts.values.astype(np.float64)
        # An item without a pair has no entry to damp, so the floor is never used.
        damped *= (np.maximum(counts.row_sums(), 1e-9) ** -settings.row_damping)[counts.rows]
        columns = np.maximum(counts.column_sums(), 1e-9) ** -settings.target_damping
        damped *= columns[counts.columns]
        self._table = replace(counts, values=damped.astype(np.float32))
        most = max(int(counted.popularity.max(initial=0)), 1)
        self._popularity = settings.back_off * counted.popularity / most

    def _grid_for(self, cases: Cases) -> Mapping[str, Sequence[float]]:
        if not cases.seen_excluded:
            return self._grid
        # No item of the history is ranked, so a walk along it would be one on the level.
        return {name: values for name, values in self._grid.items() if name != "repeat"}


def reach_of(decay: float) -> int:
    """How many steps a geometric weight stays worth counting."""
    if decay >= 1:
        raise ValueError(f"a decay of {decay} never ends; give one below 1")
    return 1 + int(np.log(LEAST_DECAY) / np.log(decay)) if decay > 0 else 1


def _affordable(lengths: NDArray[np.int64], reach: int) -> int:
    """The longest gap, up to ``reach``, with which all pairs fit in ``MOST_PAIRS``."""
    total = 0
    for gap in range(1, reach + 1):
        more = 2 * int(np.maximum(lengths - gap, 0).sum())
        total += more
        if not more or total > MOST_PAIRS:
            return gap - 1
    return reach
