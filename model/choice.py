"""Settings chosen on validation: one at a time, until nothing helps or the budget ends."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from model.journal import Journal, Settings, Trial, ordered
from model.method import Setting


@dataclass(frozen=True)
class Budget:
    """What a choice may cost; whichever ends first."""

    seconds: float = 60.0
    trials: int = 200
    least_gain: float = 0.005
    """Relative; on some thousand cases a smaller one is noise, and the settings stay put."""
    patience: int = 1
    """A walk along a setting's values ends after so many steps without a gain."""


class OutOfTime(Exception):
    """Raised by a trial that would outlast the budget: it is dropped, and the search ends."""


@dataclass
class Choice:
    """The best settings found, and how."""

    settings: dict[str, Setting]
    value: float
    finished: bool = False
    """Whether a whole round over all settings brought nothing more."""
    tried: dict[Settings, float] = field(default_factory=dict, repr=False)

    @property
    def trials(self) -> int:
        """How many settings were tried."""
        return len(self.tried)

    def table(self) -> list[dict[str, float]]:
        """All trials, the best first: what each was worth, and where it differs from the best."""
        rows = sorted(self.tried.items(), key=lambda trial: -trial[1])
        best = dict(rows[0][0])
        return [
            {"worth": worth} | {name: value for name, value in settings if value != best[name]}
            for settings, worth in rows
        ]


def choose(
    worth: Callable[[Mapping[str, Setting]], float],
    start: Mapping[str, Setting],
    grid: Mapping[str, Sequence[Setting]],
    budget: Budget,
    journal: Journal | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Choice:
    """Climb from ``start``: in turn, each setting takes the best of its values on the grid.

    A setting moves along its values from where it stands, in either direction, and stops where
    the worth has not risen enough for ``budget.patience`` steps, so the values must be in order.
    The order of trials does not depend on time; how far it gets does, unless ``budget.trials``
    ends first.

    Args:
        worth: of settings, on validation; higher is better.
        start: a value for each setting.
        grid: ascending values of the settings to choose; a start may lie between them.
        budget: when to stop.
        journal: where trials are written down. Those that it holds are not made again, but the
            seconds that they took count, so that a search that was broken off ends where it
            would have ended.
        clock: seconds, from any moment on; the budget is measured by it.

    Raises:
        OutOfTime: ``worth`` raised it of ``start``, so that nothing is known. Of later settings it
            ends the search with the best so far.
    """
    search = _Search(worth, budget, journal, clock)
    chosen = Choice(dict(start), search.worth(start), tried=search.tried)

    def better(name: str, value: Setting) -> bool:
        candidate = {**chosen.settings, name: value}
        found = search.worth(candidate)
        if found <= chosen.value + budget.least_gain * abs(chosen.value):
            return False
        chosen.settings, chosen.value = candidate, found
        return True

    while not chosen.finished:
        before = chosen.value
        for name, values in grid.items():
            here = chosen.settings[name]
            higher = [value for value in values if value > here]
            lower = [value for value in reversed(values) if value < here]
            for path in (higher, lower):
                left = budget.patience
                for value in path:
                    if search.over:
                        return chosen
                    try:
                        left = budget.patience if better(name, value) else left - 1
                    except OutOfTime:
                        return chosen
                    if not left:
                        break
        chosen.finished = chosen.value <= before
    return chosen


class _Search:
    """Trials made, remembered and paid for."""

    def __init__(
        self,
        worth: Callable[[Mapping[str, Setting]], float],
        budget: Budget,
        journal: Journal | None,
        clock: Callable[[], float],
    ) -> None:
        self._worth = worth
        self._budget = budget
        self._journal = journal
        self._clock = clock
        self._begun = clock()
        self._earlier = 0.0
        """Seconds that remembered trials took when they were made."""
        self.tried: dict[Settings, float] = {}

    @property
    def over(self) -> bool:
        """Whether the budget is spent."""
        spent = self._clock() - self._begun + self._earlier
        return len(self.tried) >= self._budget.trials or spent > self._budget.seconds

    def worth(self, settings: Mapping[str, Setting]) -> float:
        """Of settings, tried at most once."""
        key = ordered(settings)
        if key not in self.tried:
            known = None if self._journal is None else self._journal.known(settings)
            if known is not None:
                self._earlier += known.seconds
            self.tried[key] = self._try(settings) if known is None else known.worth
        return self.tried[key]

    def _try(self, settings: Mapping[str, Setting]) -> float:
        begun = self._clock()
        found = self._worth(settings)
        if self._journal is not None:
            self._journal.note(settings, Trial(found, self._clock() - begun))
        return found
