"""How sure a mean is: its standard error, and bootstrap confidence intervals (Efron, 1979).

Cases of one user are not independent, so users are drawn and not cases, each with all of its
cases (the cluster bootstrap; Davison and Hinkley, "Bootstrap Methods and their Application",
1997, section 3.8). With one case a user both are the same.
"""

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
RESAMPLES = 1000
"""The ends of the interval are then known to a tenth of its width."""
RESAMPLES_AT_ONCE = 64
ERRORS = 2.0
"""So many standard errors is a difference of the mean that is no chance."""


class Interval(msgspec.Struct, frozen=True):
    """A mean and its confidence interval."""

    mean: float
    low: float
    high: float

    @property
    def margin(self) -> float:
        """Half of the width."""
        return (self.high - self.low) / 2


def mean_and_error(values: NDArray[np.float64]) -> tuple[float, float]:
    """The mean of independent values, and its standard error."""
    return float(values.mean()), float(values.std() / np.sqrt(len(values)))


def bootstrap(
    values: Mapping[str, NDArray[np.float64]],
    owners: NDArray[np.int64],
    *,
    seed: int,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """Means of several figures of the same cases, all on the same resamples.

    Args:
        values: float64 [B] each.
        owners: int64 [B]: the user of each case; any numbers.
        seed: the same one gives the same intervals.
        level: of confidence.
        resamples: drawn.

    Returns:
        For each name the mean over cases, and the percentiles of the resamples' means, widened
        to the mean where they do not hold it (a few users can do that).

    Raises:
        ValueError: when there is no case, or not one value for each.
    """
    if not len(owners) or any(len(each) != len(owners) for each in values.values()):
        raise ValueError(f"need one value for each of {len(owners)} cases, and at least one case")
    names = list(values)
    _, numbers = np.unique(owners, return_inverse=True)
    users = int(numbers.max()) + 1
    cases = np.bincount(numbers, minlength=users).astype(np.float64)
    sums = np.stack([np.bincount(numbers, values[name], users) for name in names] + [cases], axis=1)
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, len(names)))
    for start in range(0, resamples, RESAMPLES_AT_ONCE):
        size = min(RESAMPLES_AT_ONCE, resamples - start)
        drawn = np.stack(
            [np.bincount(rng.integers(0, users, users), minlength=users) for _ in range(size)]
        )
        totals = drawn.astype(np.float64) @ sums
        means[start : start + size] = totals[:, :-1] / totals[:, -1:]
    tail = (1 - level) / 2
    lows, highs = np.quantile(means, [tail, 1 - tail], axis=0)
    found = {}
    for name, low, high in zip(names, lows.tolist(), highs.tolist(), strict=True):
        mean = float(values[name].mean())
        found[name] = Interval(mean, min(low, mean), max(high, mean))
    return found
