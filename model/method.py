"""What every contender is: learned from sequences, settings chosen on validation, all items scored.

Counts, factorisations, networks and blends of them are judged through this one interface.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.sequences import Cases, Sequences

Scores = NDArray[np.float32] | NDArray[np.float64]
"""[B, items], higher is better."""

Setting = float


class Method(Protocol):
    """A way to score all items."""

    def fit(self, train: Sequences, validation: Cases | None = None) -> None:
        """Learn; with ``validation``, choose the settings on it first."""
        ...

    def refit(self, train: Sequences) -> None:
        """Learn from other sequences with the settings as they are."""
        ...

    def scores(self, histories: Sequences) -> Scores:
        """A new array [len(histories), items] that the caller may overwrite."""
        ...

    def settings(self) -> Mapping[str, Setting]:
        """The settings in force, for the report."""
        ...
