"""What a user keeps buying, then what sells: personal frequency that fades, and popularity.

The score of an item is the sum, over the days on which the user bought it, of
2 ** (-age / half-life), and ``back_off`` times its share of the most popular item's count.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.features import DAY_MS
from model.method import Scores
from model.popularity import WINDOWS, newest_counts
from model.sequences import Sequences
from model.tuned import Tuned


@dataclass(frozen=True)
class HabitSettings:
    """The knobs."""

    half_life_days: float = 256.0
    """After which a purchase counts half."""
    window: float = 0.1
    """Share of the events, the newest, of which popularity is counted."""
    back_off: float = 0.5


GRID: dict[str, tuple[float, ...]] = {
    "half_life_days": (8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 4096.0),
    "window": WINDOWS,
    "back_off": (0.001, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0),
}


class Habits(Tuned[HabitSettings, Sequences]):
    """The method; it needs times."""

    DEFAULTS = HabitSettings()
    GRID = GRID

    def _count(self, train: Sequences) -> Sequences:
        return train

    def _learn(self, counted: Sequences) -> None:
        # Histories are frozen where the learned log ends, so ages count from there.
        self._today = int(counted.known_times.max(initial=0)) // DAY_MS
        counts = newest_counts(counted, self._settings.window)
        self._popularity: NDArray[np.float64] = counts / max(float(counts.max(initial=0)), 1.0)

    def scores(self, histories: Sequences) -> Scores:
        """float64 [B, items]; an event later than what was learned from counts as one of its day.

        Raises:
            ValueError: when the histories have no times.
        """
        size = histories.item_count
        days = histories.known_times // DAY_MS
        order = np.lexsort((days, histories.items, histories.rows))
        cells = (histories.rows * size + histories.items)[order]
        bought = days[order]
        first = np.ones(len(cells), bool)
        first[1:] = (np.diff(cells) != 0) | (np.diff(bought) != 0)
        age = np.maximum(self._today - bought[first], 0)
        strength = np.exp2(-age / self._settings.half_life_days)
        sums = np.bincount(cells[first], strength, len(histories) * size)
        scores = sums.astype(np.float64, copy=False).reshape(len(histories), size)
        scores += self._settings.back_off * self._popularity
        return scores
