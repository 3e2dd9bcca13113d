"""EASE: a linear map from the items of a history to all items, in closed form.

After Steck, "Embarrassingly shallow autoencoders for sparse data" (2019). The order of events and
their number play no part. One dense matrix over all items is inverted, so it is for catalogues of
some thousands of items.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.method import Scores
from model.sequences import Sequences
from model.tuned import Tuned

MOST_ITEMS = 8_000
"""An inversion of 8,000 items takes 1.5 GB and a minute on one core."""
GRID: dict[str, tuple[float, ...]] = {"regularization": (30.0, 100.0, 300.0, 1000.0, 3000.0)}
CHUNK = 512


@dataclass(frozen=True)
class EaseSettings:
    """The knob."""

    regularization: float = 300.0
    """Added to the diagonal."""


class Ease(Tuned[EaseSettings, NDArray[np.float64]]):
    """The method.

    Raises:
        ValueError: by ``fit`` and ``refit``, when the catalogue is too large to invert.
    """

    DEFAULTS = EaseSettings()
    GRID = GRID

    def scores(self, histories: Sequences) -> Scores:
        """float32 [B, items]."""
        return _incidence(histories) @ self._weights

    def _count(self, train: Sequences) -> NDArray[np.float64]:
        return _gram(train)

    def _learn(self, counted: NDArray[np.float64]) -> None:
        self._weights = _solve(counted, self._settings.regularization)


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
