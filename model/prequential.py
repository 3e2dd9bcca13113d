"""What real time is worth: the same bundle with live profiles, and with profiles of the past.

The log is walked in the order of time: each moment is predicted from the profile before it, then
learned. Beside that, the profiles stand still from the beginning of each hour or each day (UTC).
Popularity and co-visits follow the same schedule in all three, so only the profile differs. After
Gama, Sebastião and Rodrigues, "On Evaluating Stream Learning Algorithms", 2013. Differences are
paired: taken case by case, so that what makes a case hard for both does not blur them.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.features import DAY_MS
from model.intervals import Interval, bootstrap
from model.protocols import Questions
from model.ranked_lists import BundleJudge, Lists
from model.ranks import Ranks

HOUR_MS = 60 * 60 * 1000
PERIODS = {"hour": HOUR_MS, "day": DAY_MS}
METRICS: dict[str, Callable[[Ranks], NDArray[np.float64]]] = {
    "hit@10": lambda ranks: ranks.hit(10),
    "ndcg@10": lambda ranks: ranks.ndcg(10),
}


class Worth(msgspec.Struct, frozen=True):
    """One metric of the same cases, by how fresh the profile is."""

    live: float
    frozen: float
    gain: Interval
    """Live less frozen, case by case."""


class Frozen(msgspec.Struct, frozen=True):
    """Profiles that stand still, beside live ones."""

    cases: int
    changed: int
    """Cases whose profile is another than the live one; elsewhere both lists are the same."""
    everywhere: dict[str, Worth]
    """By name of ``METRICS``, over all cases."""
    where_changed: dict[str, Worth]
    """Over the cases whose profile is another; empty where there is none."""


class Day(msgspec.Struct, frozen=True):
    """One day of the walk: hit@10 with each kind of profile."""

    date: str
    cases: int
    live: float
    hour: float
    day: float


class Prequential(msgspec.Struct, frozen=True):
    """What the live profile is worth."""

    days: list[Day]
    frozen: dict[str, Frozen]
    """By the period of ``PERIODS``."""


def frozen_lists(
    judge: BundleJudge,
    asked: Questions,
    live: Lists,
    period_ms: int,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[Lists, NDArray[np.bool_]]:
    """The lists of profiles that stand still within a period.

    Args:
        judge: of the bundle.
        asked: with live histories.
        live: the lists made from those.
        period_ms: see ``Questions.frozen``.
        progress: called with the share that is done.

    Returns:
        The lists, and of which questions the history is another: bool [N].
    """
    frozen = asked.frozen(period_ms)
    changed = frozen.history_ends != asked.history_ends
    lists = live.copy()
    if changed.any():
        lists[changed] = judge.ask(frozen.take(np.flatnonzero(changed)), progress).blend
    return lists, changed


def worth_of(
    live: Ranks,
    frozen: Ranks,
    changed: NDArray[np.bool_],
    owners: NDArray[np.int64],
    seed: int,
) -> Frozen:
    """What the live profile is worth over one that stands still.

    Args:
        live: of N cases.
        frozen: of the same cases.
        changed: bool [N]: whose profile is another.
        owners: int64 [N]: the user of each case, for the intervals.
        seed: of the resamples.
    """

    def over(cases: NDArray[np.bool_]) -> dict[str, Worth]:
        if not cases.any():
            return {}
        pairs = {name: (of(live)[cases], of(frozen)[cases]) for name, of in METRICS.items()}
        gains = {name: fresh - stale for name, (fresh, stale) in pairs.items()}
        intervals = bootstrap(gains, owners[cases], seed=seed)
        return {
            name: Worth(float(fresh.mean()), float(stale.mean()), intervals[name])
            for name, (fresh, stale) in pairs.items()
        }

    return Frozen(len(live), int(changed.sum()), over(np.ones(len(live), bool)), over(changed))


def compare(
    times: NDArray[np.int64],
    live: Ranks,
    frozen: Mapping[str, Ranks],
    changed: Mapping[str, NDArray[np.bool_]],
    owners: NDArray[np.int64],
    seed: int,
) -> Prequential:
    """Day by day, and where the profiles differ.

    Args:
        times: int64 [N], epoch ms of each case.
        live: of the N cases.
        frozen: the same for each period of ``PERIODS``.
        changed: by period, bool [N].
        owners: int64 [N]: the user of each case.
        seed: of the resamples.
    """
    dates, numbers, counts = np.unique(times // DAY_MS, return_inverse=True, return_counts=True)
    hit = METRICS["hit@10"]
    means = [
        (np.bincount(numbers, hit(ranks)) / counts).tolist()
        for ranks in (live, *(frozen[name] for name in PERIODS))
    ]
    days = [
        Day(datetime.fromtimestamp(date * DAY_MS / 1000, UTC).strftime("%Y-%m-%d"), *rest)
        for date, *rest in zip(dates.tolist(), counts.tolist(), *means, strict=True)
    ]
    return Prequential(
        days,
        {name: worth_of(live, frozen[name], changed[name], owners, seed) for name in PERIODS},
    )
