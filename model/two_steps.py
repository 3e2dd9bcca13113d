"""Two steps instead of one: what follows the items that a first method would show.

Counts know little of an item that few have taken. The ``breadth`` best items of a first method
(counts again, or content similarity) stand in for the history, each weighted by its share of
their scores, and tuned counts say what follows them: a walk of two steps on the graph of items.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from model.method import Method, Scores, Setting
from model.sequences import Cases, Sequences
from model.transitions import Transitions


class TwoSteps:
    """The method.

    Args:
        first: gives the first step; a score of 0 or less is no step.
        counts: gives the second.
        breadth: items that the first step may lead to.
        parts_fitted: whether both have been fitted on the same training part already.
    """

    def __init__(
        self, first: Method, counts: Transitions, *, breadth: int = 50, parts_fitted: bool = False
    ) -> None:
        self._first = first
        self._counts = counts
        self._breadth = breadth
        self._parts_fitted = parts_fitted

    def fit(self, train: Sequences, validation: Cases | None = None) -> None:
        """Learn both parts, each with its settings chosen on ``validation``, unless they are."""
        if not self._parts_fitted:
            for part in self._parts():
                part.fit(train, validation)

    def refit(self, train: Sequences) -> None:
        """Learn both parts from other sequences with their settings as they are."""
        for part in self._parts():
            part.refit(train)

    def scores(self, histories: Sequences) -> Scores:
        """[B, items]."""
        return self._counts.following(*self._steps(histories))

    def settings(self) -> Mapping[str, Setting]:
        """The breadth; the rest are the parts' own."""
        return {"breadth": self._breadth}

    def _parts(self) -> list[Method]:
        same = self._first is self._counts
        return [self._counts] if same else [self._first, self._counts]

    def _steps(self, histories: Sequences) -> tuple[Sequences, NDArray[np.float64]]:
        """The items of the first step as histories, and their weights, which sum to 1."""
        size = histories.item_count
        scores = self._first.scores(histories)
        # Nobody is shown what he has: it is no step.
        scores[histories.rows, histories.items] = 0
        breadth = min(self._breadth, size)
        best = np.sort(np.argpartition(scores, -breadth, axis=1)[:, -breadth:], axis=1)
        weights = np.maximum(np.take_along_axis(scores, best, axis=1), 0).astype(np.float64)
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-30)
        starts = np.arange(len(histories) + 1, dtype=np.int64) * breadth
        steps = Sequences(best.ravel().astype(np.int32), starts, histories.item_ids)
        return steps, weights.ravel()
