"""What all methods with settings share: they are chosen on validation, then kept.

A method says what it counts once, whatever the settings, and what it learns from that with given
settings. Everything else, the sample of cases, the search and its journal, is written here.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, ClassVar, Generic, TypedDict, TypeVar

from model.choice import Budget, Choice, choose
from model.journal import Journal
from model.method import Scores, Setting
from model.ranks import Objective, judge
from model.sequences import Cases, Sequences

SettingsT = TypeVar("SettingsT")
"""A frozen dataclass of numbers."""
CountedT = TypeVar("CountedT")
"""What is the same for all settings."""


class Tuning(TypedDict, Generic[SettingsT], total=False):
    """How settings are chosen; what is left out is as ``Tuned`` has it."""

    start: SettingsT | None
    grid: Mapping[str, Sequence[float]] | None
    budget: Budget | None
    cases: int
    seed: int
    journal: Journal | None


class Tuned(ABC, Generic[SettingsT, CountedT]):
    """A method whose settings are chosen on validation.

    Args:
        objective: what settings are chosen by.
        start: settings to begin with, and to keep where there is no validation.
        grid: ascending values to choose from, of those settings that are to be chosen.
        budget: of the choice.
        cases: at most so many validation cases are judged in each trial.
        seed: draws those cases.
        journal: where trials are written down, and taken from.
    """

    DEFAULTS: ClassVar[Any]
    """Settings that are a fair start on most logs."""
    GRID: ClassVar[Mapping[str, Sequence[float]]]
    """The values to choose from where none are given; those that matter most come first."""
    CASES: ClassVar[int] = 5000
    """Validation cases judged in each trial, where no number is given."""

    def __init__(
        self,
        objective: Objective,
        *,
        start: SettingsT | None = None,
        grid: Mapping[str, Sequence[float]] | None = None,
        budget: Budget | None = None,
        cases: int | None = None,
        seed: int = 0,
        journal: Journal | None = None,
    ) -> None:
        self._objective = objective
        self._settings: SettingsT = start or self.DEFAULTS
        self._grid = self.GRID if grid is None else grid
        self._budget = budget or Budget()
        self._cases = self.CASES if cases is None else cases
        self._seed = seed
        self._journal = journal
        self.choice: Choice | None = None
        """How the settings were chosen; None where they were given."""

    @abstractmethod
    def _count(self, train: Sequences) -> CountedT:
        """What every trial starts from."""

    @abstractmethod
    def _learn(self, counted: CountedT) -> None:
        """Make ready to score with ``self._settings``."""

    @abstractmethod
    def scores(self, histories: Sequences) -> Scores:
        """A new array [len(histories), items] that the caller may overwrite."""

    def fit(self, train: Sequences, validation: Cases | None = None) -> None:
        """Learn; with ``validation``, choose the settings on it first."""
        counted = self._count(train)
        if validation is not None:
            self._choose(counted, validation.sample(self._cases, self._seed))
        self._learn(counted)

    def refit(self, train: Sequences) -> None:
        """Learn from other sequences with the settings as they are."""
        self._learn(self._count(train))

    def settings(self) -> Mapping[str, Setting]:
        """The settings in force."""
        values: Any = self._settings
        return asdict(values)

    def _choose(self, counted: CountedT, sample: Cases) -> None:
        def worth(candidate: Mapping[str, Setting]) -> float:
            self._settings = self._with(candidate)
            self._learn(counted)
            return self._objective(judge(self, sample))

        grid = self._grid_for(sample)
        self.choice = choose(worth, self.settings(), grid, self._budget, self._journal)
        self._settings = self._with(self.choice.settings)

    def _grid_for(self, cases: Cases) -> Mapping[str, Sequence[float]]:
        """The grid, less what cannot matter to these cases."""
        return self._grid

    def _with(self, values: Mapping[str, Setting]) -> SettingsT:
        settings: Any = self._settings
        changed: SettingsT = replace(settings, **values)
        return changed
