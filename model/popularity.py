"""The same order for everyone: how often each item occurs among the newest events."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from model.method import Scores, Setting
from model.ranks import Objective, judge
from model.sequences import Cases, Sequences

WINDOWS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Popularity:
    """The method.

    Args:
        objective: what the window is chosen by.
        window: share of the events, the newest, that is counted: by time where times are known,
            else by the order of the sequences.
        windows: to choose from.
        cases: at most so many validation cases are judged for each.
        seed: draws those cases.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        window: float = 1.0,
        windows: Sequence[float] = WINDOWS,
        cases: int = 5000,
        seed: int = 0,
    ) -> None:
        self._objective = objective
        self._window = window
        self._windows = windows
        self._cases = cases
        self._seed = seed
        self.worth: dict[float, float] = {}
        """What each window reached on validation; empty where it was given."""

    def fit(self, train: Sequences, validation: Cases | None = None) -> None:
        """Count; with ``validation``, choose the window on it first."""
        if validation is not None:
            sample = validation.sample(self._cases, self._seed)
            self.worth = {window: self._judged(train, window, sample) for window in self._windows}
            self._window = max(self._windows, key=self.worth.__getitem__)
        self.refit(train)

    def refit(self, train: Sequences) -> None:
        """Count other sequences in the same window."""
        self._counts = newest_counts(train, self._window)

    def scores(self, histories: Sequences) -> Scores:
        """float64 [B, items]."""
        return np.tile(self._counts, (len(histories), 1))

    def settings(self) -> Mapping[str, Setting]:
        """The window."""
        return {"window": self._window}

    def _judged(self, train: Sequences, window: float, cases: Cases) -> float:
        self._counts = newest_counts(train, window)
        return self._objective(judge(self, cases))


def newest_counts(sequences: Sequences, share: float) -> NDArray[np.float64]:
    """float64 [items]: occurrences among the newest ``share`` of the events.

    Events as old as the oldest that is counted are counted too, so that ties leave none out by
    its place in the file.
    """
    moments = sequences.rows if sequences.times is None else sequences.times
    size = sequences.item_count
    kept = round(len(moments) * share)
    if not kept:
        return np.zeros(size)
    oldest = np.partition(moments, len(moments) - kept)[len(moments) - kept]
    return np.bincount(sequences.items[moments >= oldest], minlength=size).astype(np.float64)
