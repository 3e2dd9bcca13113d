"""Matrix factorisation by alternating least squares (Hu, Koren, Volinsky, 2008), from ``implicit``.

A history is folded in: its user's factors are solved for from its items, so users that were not
learned from are served like any other. The order of events plays no part.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from model.method import Scores
from model.neighbours import once_each
from model.ranks import Objective
from model.sequences import Sequences
from model.tuned import Tuned, Tuning


@dataclass(frozen=True)
class FactorSettings:
    """The knobs."""

    factors: int = 64
    regularization: float = 0.1
    confidence: float = 10.0
    """How much surer an event is than its absence."""
    iterations: int = 10


GRID: dict[str, tuple[float, ...]] = {
    "confidence": (1.0, 3.0, 10.0, 30.0),
    "regularization": (0.01, 0.1, 1.0, 10.0),
    "factors": (32, 64, 128),
}


class Factorization(Tuned[FactorSettings, Any]):
    """The method.

    Args:
        objective: what settings are chosen by.
        threads: that the library may use.
        tuning: see ``Tuned``; the seed draws the first factors too.

    Raises:
        ModuleNotFoundError: when ``implicit`` is not installed.
    """

    DEFAULTS = FactorSettings()
    GRID = GRID

    def __init__(
        self,
        objective: Objective,
        *,
        threads: int = 1,
        **tuning: Unpack[Tuning[FactorSettings]],
    ) -> None:
        try:
            self._als: Any = import_module("implicit.cpu.als")
            self._sparse: Any = import_module("scipy.sparse")
            self._limits: Any = import_module("threadpoolctl")
        except ModuleNotFoundError as missing:
            raise ModuleNotFoundError(
                "matrix factorisation needs implicit; run: pip install implicit"
            ) from missing
        super().__init__(objective, **tuning)
        self._threads = threads

    def scores(self, histories: Sequences) -> Scores:
        """float32 [B, items]."""
        users = np.arange(len(histories))
        factors = self._model.recalculate_user(users, self._matrix(histories))
        scores: NDArray[np.float32] = factors @ self._model.item_factors.T
        return scores

    def _count(self, train: Sequences) -> Any:
        return self._matrix(train)

    def _learn(self, counted: Any) -> None:
        settings = self._settings
        # Its threads and those of the linear algebra below it would fight for the cores.
        with self._limits.threadpool_limits(1, "blas"):
            self._model = self._als.AlternatingLeastSquares(
                factors=settings.factors,
                regularization=settings.regularization,
                alpha=settings.confidence,
                iterations=settings.iterations,
                num_threads=self._threads,
                random_state=self._seed,
            )
            self._model.fit(counted, show_progress=False)

    def _matrix(self, sequences: Sequences) -> Any:
        """A sparse float32 [S, items], 1 where an item occurs."""
        distinct = once_each(sequences)
        ones = np.ones(len(distinct.items), np.float32)
        # The library keeps 32-bit places.
        places = (ones, distinct.items, distinct.starts.astype(np.int32))
        return self._sparse.csr_matrix(places, shape=(len(distinct), distinct.item_count))
