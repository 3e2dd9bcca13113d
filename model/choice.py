"""Settings chosen on validation: one at a time, until nothing helps or the budget ends."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from model.method import Setting


@dataclass(frozen=True)
class Budget:
    """What a choice may cost; whichever ends first."""

    seconds: float = 60.0
    trials: int = 200
    least_gain: float = 0.005
    """Relative; on some thousand cases a smaller one is noise, and the settings stay put."""


@dataclass
class Choice:
    """The best settings found, and how."""

    settings: dict[str, Setting]
    value: float
    trials: int = 1
    finished: bool = False
    """Whether a whole round over all settings brought nothing more."""
    tried: dict[tuple[tuple[str, Setting], ...], float] = field(default_factory=dict, repr=False)


def choose(
    worth: Callable[[Mapping[str, Setting]], float],
    start: Mapping[str, Setting],
    grid: Mapping[str, Sequence[Setting]],
    budget: Budget,
) -> Choice:
    """Climb from ``start``: in turn, each setting takes the best of its values on the grid.

    A setting moves along its values from where it stands, in either direction, and stops where
    the worth does not rise enough, so the values must be in order. The order of trials does not
    depend on time; how far it gets does, unless ``budget.trials`` ends first.

    Args:
        worth: of settings, on validation; higher is better.
        start: a value for each setting.
        grid: ascending values of the settings to choose; a start may lie between them.
        budget: when to stop.
    """
    deadline = time.monotonic() + budget.seconds
    chosen = Choice(dict(start), worth(start))
    chosen.tried[_key(start)] = chosen.value

    def better(name: str, value: Setting) -> bool:
        candidate = {**chosen.settings, name: value}
        if _key(candidate) not in chosen.tried:
            chosen.tried[_key(candidate)] = worth(candidate)
            chosen.trials += 1
        found = chosen.tried[_key(candidate)]
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
                for value in path:
                    if chosen.trials >= budget.trials or time.monotonic() > deadline:
                        return chosen
                    if not better(name, value):
                        break
        chosen.finished = chosen.value <= before
    return chosen


def _key(settings: Mapping[str, Setting]) -> tuple[tuple[str, Setting], ...]:
    return tuple(sorted(settings.items()))
