"""Sequence-kNN: what stood near the shared items in the sequences most like the history.

After V-SKNN (Ludewig and Jannach, "Evaluation of session-based recommendation algorithms", 2018)
and STAN (Garg et al., "Sequence and time aware neighborhood for session-based recommendations",
2019). The likeness of a sequence is the sum over the items it shares with the history of
history_decay ** age * (rarity) ** rarity_power, over its length ** length_power and halved for
every ``1 / recency`` of the log that it is older than the newest. Each of the ``neighbours`` most
alike then gives each of its items its likeness times the gap decay ** (d - 1), d being how far the
item stands behind the newest shared item; what stands before that counts ``backward`` times.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.method import Scores
from model.sequences import Sequences
from model.transitions import reach_of
from model.tuned import Tuned


@dataclass(frozen=True)
class SequenceSettings:
    """The knobs."""

    neighbours: int = 500
    """The sequences most alike that are listened to."""
    occurrences: int = 1000
    """Of each item of the history, so many sequences, the newest, are looked at."""
    history_decay: float = 0.7
    rarity_power: float = 1.0
    length_power: float = 0.5
    recency: float = 0.0
    gap_decay: float = 0.8
    backward: float = 0.5
    target_damping: float = 0.0
    """Scores are divided by this power of how often the item occurs."""


GRID: dict[str, tuple[float, ...]] = {
    "history_decay": (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95),
    "rarity_power": (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0),
    "target_damping": (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5),
    "length_power": (0.0, 0.25, 0.5, 0.75, 1.0, 1.5),
    "gap_decay": (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0),
    "backward": (0.0, 0.2, 0.5, 0.8, 1.0),
    "recency": (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0),
    "neighbours": (100, 200, 500, 1000, 2000),
    "occurrences": (200, 500, 1000, 2000, 5000),
}


@dataclass(frozen=True)
class Index:
    """Where each item occurs: events of item i are ``events[starts[i]:starts[i + 1]]``."""

    sequences: Sequences
    events: NDArray[np.int64]
    """int64 [N], positions in the sequences' arrays, the newest sequence first."""
    starts: NDArray[np.int64]
    rarity: NDArray[np.float64]
    """float64 [items]: log of sequences over occurrences."""


class SequenceNeighbours(Tuned[SequenceSettings, Index]):
    """The method; sequences are in the order of time wherever ``recency`` is not 0."""

    DEFAULTS = SequenceSettings()
    GRID = GRID

    def _count(self, train: Sequences) -> Index:
        newest_first = np.arange(len(train.items))[::-1]
        order = np.argsort(train.items[::-1], kind="stable")
        counts = train.counts()
        starts = np.zeros(train.item_count + 1, np.int64)
        np.cumsum(counts, out=starts[1:])
        rarity = np.log(max(len(train), 1) / np.maximum(counts, 1) + 1)
        return Index(train, newest_first[order], starts, rarity)

    def _learn(self, counted: Index) -> None:
        settings, train = self._settings, counted.sequences
        self._index = counted
        self._item_weight = counted.rarity**settings.rarity_power
        self._sequence_weight = (
            np.exp2(-settings.recency * np.linspace(1, 0, len(train)))
            * np.maximum(train.lengths, 1.0) ** -settings.length_power
        )
        self._damping = np.maximum(train.counts(), 1.0) ** -settings.target_damping

    def scores(self, histories: Sequences) -> Scores:
        """float64 [B, items]."""
        size = histories.item_count
        cases, sequences, likeness, meetings = self._alike(histories)
        train, settings = self._index.sequences, self._settings
        lengths = train.lengths[sequences]
        entries, within = _expanded(lengths)
        events = train.starts[:-1][sequences][entries] + within
        distance = events - meetings[entries]
        place = np.abs(distance)
        weight = settings.gap_decay ** np.maximum(place - 1, 0)
        weight[distance < 0] *= settings.backward
        weight[distance == 0] = 0
        items = train.items[events]
        weight *= likeness[entries] * self._damping[items]
        cells = cases[entries] * size + items
        sums = np.bincount(cells, weight, len(histories) * size)
        return sums.astype(np.float64, copy=False).reshape(len(histories), size)

    def _alike(
        self, histories: Sequences
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Case, sequence, likeness and newest shared event of the sequences most alike."""
        settings, index = self._settings, self._index
        newest = histories.newest(reach_of(settings.history_decay))
        counts = np.diff(index.starts)[newest.items]
        entries, within = _expanded(np.minimum(counts, int(settings.occurrences)))
        events = index.events[index.starts[:-1][newest.items][entries] + within]
        weights = settings.history_decay**newest.ages * self._item_weight[newest.items]
        sequences = index.sequences.rows[events]
        keys = newest.rows[entries] * len(index.sequences) + sequences
        # Within a key the newest event of the history comes first: it is where they meet.
        order = np.lexsort((newest.ages[entries], keys))
        firsts = np.flatnonzero(np.diff(keys[order], prepend=-1))
        if not len(firsts):
            nothing = np.empty(0, np.int64)
            return nothing, nothing, np.empty(0), nothing
        likeness = np.add.reduceat(weights[entries][order], firsts)
        cases, found = np.divmod(keys[order][firsts], len(index.sequences))
        likeness = likeness * self._sequence_weight[found]
        meetings = events[order][firsts]
        best = np.lexsort((-likeness, cases))
        places = np.arange(len(best)) - np.searchsorted(cases[best], cases[best])
        kept = best[places < settings.neighbours]
        return cases[kept], found[kept], likeness[kept], meetings[kept]


def _expanded(lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For rows of these lengths: the row of each of their cells, and its place in the row."""
    ends = np.cumsum(lengths)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    return rows, np.arange(len(rows)) - (ends - lengths)[rows]
