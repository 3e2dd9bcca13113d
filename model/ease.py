"""EASE: a linear map from the items of a history to all items, in closed form.

After Steck, "Embarrassingly shallow autoencoders for sparse data" (2019). The order of events and
their number play no part. One dense matrix over all items is inverted, so it is for catalogues of
some thousands of items.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from model.choice import Budget, Choice, choose
from model.method import Scores, Setting
from model.ranks import Objective, judge
from model.sequences import Cases, Sequences

MOST_ITEMS = 8_000
"""An inversion of 8,000 items takes 1.5 GB and a minute on one core."""
REGULARIZATIONS = (30.0, 100.0, 300.0, 1000.0, 3000.0)
CHUNK = 512


class Ease:
    """The method.

    Args:
        objective: what the regularisation is chosen by.
        regularization: added to the diagonal; to begin with, and kept without validation.
        budget: of the choice.
        cases: at most so many validation cases are judged in each trial.
        seed: draws those cases.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        regularization: float = 300.0,
        budget: Budget | None = None,
        cases: int = 5000,
        seed: int = 0,
    ) -> None:
        self._objective = objective
        self._regularization = regularization
        self._budget = budget or Budget()
        self._cases = cases
        self._seed = seed
        self.choice: Choice | None = None
        """How the regularisation was chosen; None where it was given."""

    def fit(
        self,
        train: Sequences,
        validation: Cases | None = None,
        regularizations: Sequence[float] = REGULARIZATIONS,
    ) -> None:
        """Learn; with ``validation``, choose the regularisation on it first.

        Raises:
            ValueError: when the catalogue is too large to invert.
        """
        gram = _gram(train)
        if validation is not None:
            sample = validation.sample(self._cases, self._seed)

            def worth(candidate: Mapping[str, Setting]) -> float:
                self._weights = _solve(gram, float(candidate["regularization"]))
                return self._objective(judge(self, sample))

            grid = {"regularization": regularizations}
            self.choice = choose(worth, dict(self.settings()), grid, self._budget)
            self._regularization = float(self.choice.settings["regularization"])
        self._weights = _solve(gram, self._regularization)

    def refit(self, train: Sequences) -> None:
        """Learn from other sequences with the same regularisation.

        Raises:
            ValueError: when the catalogue is too large to invert.
        """
        self._weights = _solve(_gram(train), self._regularization)

    def scores(self, histories: Sequences) -> Scores:
        """float32 [B, items]."""
        return _incidence(histories) @ self._weights

    def settings(self) -> Mapping[str, Setting]:
        """The regularisation."""
        return {"regularization": self._regularization}


def _incidence(sequences: Sequences) -> NDArray[np.float32]:
    """float32 [S, items]: 1 where an item occurs."""
    occurs = np.zeros((len(sequences), sequences.item_count), np.float32)
    occurs[sequences.rows, sequences.items] = 1
    return occurs


def _gram(sequences: Sequences) -> NDArray[np.float64]:
    """float64 [items, items]: in how many sequences two items occur together."""
    size = sequences.item_count
    if size > MOST_ITEMS:
        raise ValueError(
            f"EASE inverts a matrix over all items; {size:,} are more than the {MOST_ITEMS:,} that "
            "fit: leave it out for this catalogue"
        )
    gram = np.zeros((size, size))
    for start in range(0, len(sequences), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(sequences)))
        occurs = _incidence(sequences.take(rows))
        gram += occurs.T @ occurs
    return gram


def _solve(gram: NDArray[np.float64], regularization: float) -> NDArray[np.float32]:
    """float32 [items, items], zero on the diagonal: no item explains itself."""
    inverse = np.linalg.inv(gram + regularization * np.eye(len(gram)))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights.astype(np.float32)
