"""What real time is worth: the same bundle with live profiles, and with profiles of the past.

The log is walked in the order of time: each moment is predicted from the profile before it, then
learned. Beside that, the profiles stand still from the beginning of each hour or each day (UTC).
Popularity and co-visits follow the same schedule in all three, so only the profile differs. After
Gama, Sebastião and Rodrigues, "On Evaluating Stream Learning Algorithms", 2013.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.features import DAY_MS
from model.protocols import Questions
from model.ranked_lists import BundleJudge, Lists

HOUR_MS = 60 * 60 * 1000
PERIODS = {"hour": HOUR_MS, "day": DAY_MS}


class Frozen(msgspec.Struct, frozen=True):
    """Profiles that stand still, beside live ones."""

    changed: int
    """Cases whose profile is another than the live one; elsewhere both lists are the same."""
    frozen_hit: float
    """hit@10 of those cases with the frozen profile; 0 where there is none."""
    live_hit: float
    """hit@10 of the same cases with the live profile."""


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


def compare(
    times: NDArray[np.int64],
    live: NDArray[np.float64],
    frozen: dict[str, NDArray[np.float64]],
    changed: dict[str, NDArray[np.bool_]],
) -> Prequential:
    """Day by day, and where the profiles differ.

    Args:
        times: int64 [N], epoch ms of each case.
        live: float64 [N], hit@10 of each.
        frozen: the same for each period of ``PERIODS``.
        changed: by period, bool [N].
    """
    dates, numbers, counts = np.unique(times // DAY_MS, return_inverse=True, return_counts=True)
    means = [
        (np.bincount(numbers, hits) / counts).tolist()
        for hits in (live, *(frozen[name] for name in PERIODS))
    ]
    days = [
        Day(datetime.fromtimestamp(date * DAY_MS / 1000, UTC).strftime("%Y-%m-%d"), *rest)
        for date, *rest in zip(dates.tolist(), counts.tolist(), *means, strict=True)
    ]
    return Prequential(
        days,
        {
            name: Frozen(
                int(changed[name].sum()),
                float(frozen[name][changed[name]].mean()) if changed[name].any() else 0.0,
                float(live[changed[name]].mean()) if changed[name].any() else 0.0,
            )
            for name in PERIODS
        },
    )
