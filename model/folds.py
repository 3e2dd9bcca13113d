"""Folds of time: learn from everything before a midnight, be judged on the days after it.

The folds expand: each learns from all that the one before it learned from and was judged on
(rolling-origin evaluation; Tashman, "Out-of-sample tests of forecasting accuracy", 2000). The last
is the validation window of ``model.dataset.split_by_time``; the test window is in none.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.dataset import Baskets, EventLog, cut_times, next_baskets, target_kind
from model.features import DAY_MS


class Fold(NamedTuple):
    """One of them; no event from ``until`` on is in it."""

    train: EventLog
    validation: Baskets
    since: int
    """The midnight (UTC, epoch ms) that parts the two."""
    until: int
    """The midnight at which the validation days have ended."""


def expanding_folds(
    log: EventLog,
    count: int,
    *,
    validation_days: int,
    test_days: int,
    kind: int | None = None,
) -> list[Fold]:
    """``count`` folds of ``validation_days`` each, one after the other, up to the test window.

    They are a function of the events before the test window: ids that only occur in it are gone,
    and the codes of the others follow the order of the ids. Sessions are left out. Baskets are of
    ``kind``; None for ``model.dataset.target_kind`` of those events.

    Raises:
        ValueError: when a fold would have nothing to learn from, or nothing to be judged on.
    """
    _, test_from = cut_times(log, validation_days, test_days)
    past = _past(log, test_from)
    if kind is None:
        kind = target_kind(past)
    folds = []
    for number in reversed(range(count)):
        until = test_from - number * validation_days * DAY_MS
        since = until - validation_days * DAY_MS
        known = past.before(until)
        fold = Fold(known.before(since), next_baskets(known, since, until, kind), since, until)
        if not len(fold.train) or not len(fold.validation):
            raise ValueError(
                f"{count} folds of {validation_days} days before a test of {test_days} are more "
                "than the log has events for; give a longer log, fewer folds or fewer days"
            )
        folds.append(fold)
    return folds


def _past(log: EventLog, time: int) -> EventLog:
    """The events before ``time``, and of the ids theirs alone, in the order of the alphabet."""
    earlier = log.before(time)
    searches = earlier.searches
    traits = earlier.traits
    someone = np.union1d(np.union1d(earlier.users, searches.users), traits.users)
    users = _alphabetical(someone, log.user_ids)
    items = _alphabetical(np.unique(earlier.items), log.item_ids)
    searchers = users.codes[searches.users]
    order = np.lexsort((searches.times, searchers))
    return EventLog.from_columns(
        users.codes[earlier.users],
        items.codes[earlier.items],
        earlier.kinds,
        earlier.times,
        users.ids,
        items.ids,
        searches=replace(
            searches,
            users=searchers[order],
            times=searches.times[order],
            texts=[searches.texts[row] for row in order],
        ),
        traits=traits.recoded(users.codes),
    )


class _Recoding(NamedTuple):
    codes: NDArray[np.int32]
    """The new code of each old one that occurs."""
    ids: list[str]
    """Of the new codes."""


def _alphabetical(occurring: NDArray[np.int32], ids: list[str]) -> _Recoding:
    order = sorted(occurring.tolist(), key=ids.__getitem__)
    codes = np.zeros(len(ids), np.int32)
    codes[order] = np.arange(len(order))
    return _Recoding(codes, [ids[code] for code in order])
