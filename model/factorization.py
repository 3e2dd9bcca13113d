"""Matrix factorisation by alternating least squares (Hu, Koren, Volinsky, 2008), from ``implicit``.

A history is folded in: its user's factors are solved for from its items, so users that were not
learned from are served like any other. The order of events plays no part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from model.choice import Budget, Choice, choose
from model.method import Scores, Setting
from model.neighbours import once_each
from model.ranks import Objective, judge
from model.sequences import Cases, Sequences


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


class Factorization:
    """The method.

    Args:
        objective: what settings are chosen by.
        start: settings to begin with, and to keep where there is no validation.
        grid: ordered values to choose from.
        budget: of the choice.
        cases: at most so many validation cases are judged in each trial.
        threads: that the library may use.
        seed: of the first factors, and of the draw of those cases.

    Raises:
        ModuleNotFoundError: when ``implicit`` is not installed.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        start: FactorSettings | None = None,
        grid: Mapping[str, Sequence[float]] | None = None,
        budget: Budget | None = None,
        cases: int = 5000,
        threads: int = 1,
        seed: int = 0,
    ) -> None:
        try:
            self._als: Any = import_module("implicit.cpu.als")
            self._sparse: Any = import_module("scipy.sparse")
            self._limits: Any = import_module("threadpoolctl")
        except ModuleNotFoundError as missing:
            raise ModuleNotFoundError(
                "matrix factorisation needs implicit; run: pip install implicit"
            ) from missing
        self._objective = objective
        self._settings = start or FactorSettings()
        self._grid = GRID if grid is None else grid
        self._budget = budget or Budget()
        self._cases = cases
        self._threads = threads
        self._seed = seed
        self.choice: Choice | None = None
        """How the settings were chosen; None where they were given."""

    def fit(self, train: Sequences, validation: Cases | None = None) -> None:
        """Learn; with ``validation``, choose the settings on it first."""
        if validation is not None:
            sample = validation.sample(self._cases, self._seed)

            def worth(candidate: Mapping[str, Setting]) -> float:
                self._settings = _settings(candidate)
                self.refit(train)
                return self._objective(judge(self, sample))

            self.choice = choose(worth, asdict(self._settings), self._grid, self._budget)
            self._settings = _settings(self.choice.settings)
        self.refit(train)

    def refit(self, train: Sequences) -> None:
        """Learn from other sequences with the settings as they are."""
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
            self._model.fit(self._matrix(train), show_progress=False)

    def scores(self, histories: Sequences) -> Scores:
        """float32 [B, items]."""
        users = np.arange(len(histories))
        factors = self._model.recalculate_user(users, self._matrix(histories))
        scores: NDArray[np.float32] = factors @ self._model.item_factors.T
        return scores

    def settings(self) -> Mapping[str, Setting]:
        """The settings in force."""
        return asdict(self._settings)

    def _matrix(self, sequences: Sequences) -> Any:
        """A sparse float32 [S, items], 1 where an item occurs."""
        distinct = once_each(sequences)
        ones = np.ones(len(distinct.items), np.float32)
        # The library keeps 32-bit places.
        places = (ones, distinct.items, distinct.starts.astype(np.int32))
        return self._sparse.csr_matrix(places, shape=(len(distinct), distinct.item_count))


def _settings(values: Mapping[str, Setting]) -> FactorSettings:
    return FactorSettings(**cast(Mapping[str, Any], values))
