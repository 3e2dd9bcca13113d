"""What a user keeps buying, then what sells: personal frequency that fades, and popularity.

The score of an item is the sum, over the days on which the user bought it, of
2 ** (-age / half-life), and ``back_off`` times its share of the most popular item's count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from model.choice import Budget, Choice, choose
from model.features import DAY_MS
from model.method import Scores, Setting
from model.popularity import WINDOWS, newest_counts
from model.ranks import Objective, judge
from model.sequences import Cases, Sequences


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


class Habits:
    """The method; it needs times.

    Args:
        objective: what settings are chosen by.
        start: settings to begin with, and to keep where there is no validation.
        grid: ordered values to choose from.
        budget: of the choice.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        start: HabitSettings | None = None,
        grid: Mapping[str, Sequence[float]] | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._objective = objective
        self._settings = start or HabitSettings()
        self._grid = GRID if grid is None else grid
        self._budget = budget or Budget()
        self.choice: Choice | None = None
        """How the settings were chosen; None where they were given."""

    def fit(self, train: Sequences, validation: Cases | None = None) -> None:
        """Count; with ``validation``, choose the settings on it first."""
        if validation is not None:

            def worth(candidate: Mapping[str, Setting]) -> float:
                self._settings = _settings(candidate)
                self.refit(train)
                return self._objective(judge(self, validation))

            start = asdict(self._settings)
            self.choice = choose(worth, start, self._grid, self._budget)
            self._settings = _settings(self.choice.settings)
        self.refit(train)

    def refit(self, train: Sequences) -> None:
        """Count other sequences with the settings as they are."""
        # Histories are frozen where the learned log ends, so ages count from there.
        self._today = int(train.known_times.max(initial=0)) // DAY_MS
        counts = newest_counts(train, self._settings.window)
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

    def settings(self) -> Mapping[str, Setting]:
        """The settings in force."""
        return asdict(self._settings)


def _settings(values: Mapping[str, Setting]) -> HabitSettings:
    return HabitSettings(**values)
