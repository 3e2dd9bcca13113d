"""Trials of settings over folds: each fold written down as it ends, the hopeless dropped early.

A trial is raced against the best one so far, fold by fold: as some folds are harder than others,
the two are compared on the same ones only (racing; Maron and Moore, "Hoeffding Races", 1994).
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev

from model.choice import OutOfTime
from model.journal import Journal, Settings, Trial, ordered
from model.method import Setting

BEHIND = 0.01
"""A trial that is so far behind, relatively, on the folds judged is dropped: of three folds, one
that is 1% behind on the first would have to be 1.25% ahead on both others to gain the half percent
that ``model.choice.Budget`` asks for."""

CUT = "cut"
"""Marks a line of the journal on a fold that the budget cut off: its seconds were spent, though
nothing was found."""


@dataclass(frozen=True)
class FoldTrial:
    """What settings were worth on the folds judged."""

    settings: Settings
    worths: list[float]
    """In the order of the folds; shorter where the trial was dropped."""
    mean: float
    """Over all folds; of a trial that was dropped, what is to be expected: the leader's mean,
    plus the mean difference to the leader on the folds judged."""
    seconds: float

    @property
    def spread(self) -> float | None:
        """Standard deviation over the folds judged; None of a single one."""
        return stdev(self.worths) if len(self.worths) > 1 else None


class FoldTrials(ABC):
    """All trials of a search; ``worth`` and ``clock`` are what ``model.choice.choose`` takes.

    Args:
        folds: how many there are.
        seconds: to spend; those of folds that the journal remembers count, of cut ones too.
        journal: where folds are written down, and taken from.
        clock: seconds, from any moment on.
    """

    def __init__(
        self,
        folds: int,
        seconds: float,
        journal: Journal | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folds = folds
        self.seconds = seconds
        """The budget."""
        self._journal = journal
        self._clock = clock
        self._begun = clock()
        self._remembered = 0.0
        self.made: dict[Settings, FoldTrial] = {}
        self.leader: FoldTrial | None = None
        """The best of those that were judged on all folds."""

    @abstractmethod
    def judge(self, settings: Mapping[str, Setting], fold: int) -> float:
        """What settings are worth on the fold of a number; higher is better.

        Raises:
            OutOfTime: see ``stop_when_spent``.
        """

    @property
    def spent(self) -> float:
        """Seconds, as the budget counts them."""
        return self.clock() - self._begun

    def clock(self) -> float:
        """The clock, put forward by the seconds that remembered folds took when they were made."""
        return self._clock() + self._remembered

    def stop_when_spent(self) -> None:
        """For long work to call now and then.

        Raises:
            OutOfTime: the budget is spent.
        """
        if self.spent > self.seconds:
            raise OutOfTime

    def worth(self, settings: Mapping[str, Setting]) -> float:
        """The mean over folds, or what is to be expected of it; made at most once.

        Raises:
            OutOfTime: the budget ended first. The folds that were judged are in the journal.
        """
        key = ordered(settings)
        if key not in self.made:
            self.made[key] = made = self._make(settings)
            if len(made.worths) == self._folds and (
                self.leader is None or made.mean > self.leader.mean
            ):
                self.leader = made
        return self.made[key].mean

    def _make(self, settings: Mapping[str, Setting]) -> FoldTrial:
        worths: list[float] = []
        seconds = 0.0
        for fold in range(self._folds):
            found = self._on(settings, fold)
            worths.append(found.worth)
            seconds += found.seconds
            if self.leader and self._expected(worths) < self.leader.mean * (1 - BEHIND):
                break
        return FoldTrial(ordered(settings), worths, self._expected(worths), seconds)

    def _expected(self, worths: list[float]) -> float:
        if self.leader is None or len(worths) == self._folds:
            return fmean(worths)
        return self.leader.mean + fmean(worths) - fmean(self.leader.worths[: len(worths)])

    def _on(self, settings: Mapping[str, Setting], fold: int) -> Trial:
        key = {**settings, "fold": fold}
        cut = self._recall({**key, CUT: 1})
        if known := self._recall(key):
            return known
        self.stop_when_spent()
        begun = self._clock()
        try:
            worth = self.judge(settings, fold)
        except OutOfTime:
            lost = self._clock() - begun + (cut.seconds if cut else 0.0)
            self._note({**key, CUT: 1}, Trial(0.0, lost))
            raise
        trial = Trial(worth, self._clock() - begun)
        self._note(key, trial)
        return trial

    def _recall(self, key: Mapping[str, Setting]) -> Trial | None:
        known = None if self._journal is None else self._journal.known(key)
        if known:
            self._remembered += known.seconds
        return known

    def _note(self, key: Mapping[str, Setting], trial: Trial) -> None:
        if self._journal is not None:
            self._journal.note(key, trial)
