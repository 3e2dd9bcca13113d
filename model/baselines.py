"""Counts: the baselines that a network has to beat, and two of the signals it is blended with.

Popularity and co-visits follow what a live worker counts (decay with event time, pairs of one
user's events within 30 minutes); here they are taken as of midnight before each moment.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from model.dataset import (
    PROFILE_INTERACTIONS,
    PROFILE_PURCHASES,
    PURCHASE,
    Baskets,
    EventLog,
)
from model.features import DAY_MS
from model.signals import NEIGHBOURS, TOGETHER_MS, strongest

POPULAR_DAYS = 28
DAYS_CACHED = 64
REMEMBERED_HALF_LIVES = 2
"""A pair older than this weighs less than a quarter and is left out: half the memory and time."""


class MostPopular:
    """The same list for everyone: what sold most in the 28 days up to the midnight before.

    Args:
        log: all rows; only those before each moment are counted.
        days: length of the window.
    """

    def __init__(self, log: EventLog, days: int = POPULAR_DAYS) -> None:
        self._log = log
        self._days = days
        self._on_day = lru_cache(maxsize=DAYS_CACHED)(self._counts)
        self._top_on_day = lru_cache(maxsize=DAYS_CACHED)(self._top)

    def counts(self, time: int) -> NDArray[np.float64]:
        """float64 [items]: how often each item occurs in the window that ends before ``time``."""
        return self._on_day(time // DAY_MS)

    def top(self, time: int, count: int) -> NDArray[np.int64]:
        """The ``count`` most frequent items as of ``time``, most frequent first."""
        return self._top_on_day(time // DAY_MS, count)

    def rank(self, baskets: Baskets, count: int = 10) -> list[NDArray[np.int64]]:
        """A list of item positions for each basket, best first."""
        return [self.top(baskets.time(number), count) for number in range(len(baskets))]

    def _top(self, day: int, count: int) -> NDArray[np.int64]:
        return strongest(self._on_day(day), self._log.hashes, count)

    def _counts(self, day: int) -> NDArray[np.float64]:
        times = self._log.times
        inside = (times >= (day - self._days) * DAY_MS) & (times < day * DAY_MS)
        counts = np.bincount(self._log.items[inside], minlength=len(self._log.item_ids))
        return counts.astype(np.float64)


class FrequentThenPopular:
    """What the user bought on most days, then what is popular.

    Where something else than purchases is to be predicted, such as clicks of a log that sells
    nothing: what he took most often, of that kind.

    Args:
        log: all rows; only a basket's own history and earlier popularity are used.
        kept: how many of the newest purchases are remembered, and of other events at most as many
            as a profile keeps; None for all of them.
    """

    def __init__(self, log: EventLog, kept: int | None = PROFILE_PURCHASES) -> None:
        self._log = log
        self._kept = kept
        self._popular = MostPopular(log)

    def rank(self, baskets: Baskets, count: int = 10) -> list[NDArray[np.int64]]:
        """A list of item positions for each basket, best first."""
        return [self._rank_one(baskets, number, count) for number in range(len(baskets))]

    def _rank_one(self, baskets: Baskets, number: int, count: int) -> NDArray[np.int64]:
        history = int(baskets.history_starts[number]), int(baskets.history_ends[number])
        if baskets.target_kind == PURCHASE:
            own = self._bought(*history, baskets.time(number))[:count]
        else:
            own = self._taken(*history, baskets.target_kind)[:count]
        if len(own) == count:
            return own
        others = self._popular.top(baskets.time(number), 2 * count)
        return np.concatenate([own, others[~np.isin(others, own)][: count - len(own)]])

    def _bought(self, start: int, end: int, time: int) -> NDArray[np.int64]:
        """By days, of equally many the more popular ones first."""
        _, bought = self._log.purchase_days(start, end, self._kept)
        days = np.bincount(bought)
        items = np.flatnonzero(days)
        popular = self._popular.counts(time)
        return items[np.lexsort((-popular[items], -days[items]))].astype(np.int64)

    def _taken(self, start: int, end: int, kind: int) -> NDArray[np.int64]:
        """By events, of equally many the newest ones first."""
        newest_first = self._log.items[start:end][self._log.kinds[start:end] == kind][::-1]
        if self._kept is not None:
            newest_first = newest_first[: min(self._kept, PROFILE_INTERACTIONS)]
        items, age, events = np.unique(newest_first, return_index=True, return_counts=True)
        return items[np.lexsort((age, -events))].astype(np.int64)


class DecayedPopularity:
    """Events of each item, halved every ``half_life_days``, as of the midnight before a moment."""

    def __init__(self, log: EventLog, half_life_days: float) -> None:
        self._log = log
        self._half_life_ms = half_life_days * DAY_MS
        self._on_day = lru_cache(maxsize=DAYS_CACHED)(self._counts)
        self._top_on_day = lru_cache(maxsize=DAYS_CACHED)(self._top)

    def counts(self, time: int) -> NDArray[np.float64]:
        """float64 [items]."""
        return self._on_day(time // DAY_MS)

    def top(self, time: int, count: int) -> NDArray[np.int64]:
        """The ``count`` items of the highest counts, highest first."""
        return self._top_on_day(time // DAY_MS, count)

    def _top(self, day: int, count: int) -> NDArray[np.int64]:
        return strongest(self._on_day(day), self._log.hashes, count)

    def _counts(self, day: int) -> NDArray[np.float64]:
        earlier = self._log.times < day * DAY_MS
        age = (day * DAY_MS - self._log.times[earlier]) / self._half_life_ms
        size = len(self._log.item_ids)
        counts = np.bincount(self._log.items[earlier], weights=np.exp2(-age), minlength=size)
        return counts.astype(np.float64)


class CoVisits:
    """Pairs of one user's events within 30 minutes, decaying, the strongest of each item.

    Args:
        log: all rows; only pairs before each moment are counted.
        half_life_days: after which a pair counts half.
        start, end: epoch ms, the moments that will be asked for.
    """

    def __init__(self, log: EventLog, half_life_days: float, start: int, end: int) -> None:
        self._half_life_ms = half_life_days * DAY_MS
        self._memory_ms = int(REMEMBERED_HALF_LIVES * self._half_life_ms)
        rows = (log.times >= start // DAY_MS * DAY_MS - self._memory_ms) & (log.times < end)
        left, right, times = _pairs(log.users[rows], log.items[rows], log.times[rows])
        size = len(log.item_ids)
        pairs, self._slots = np.unique(left * size + right, return_inverse=True)
        self._right = pairs % size
        self._hashes = log.hashes[self._right]
        self._first = np.searchsorted(pairs // size, np.arange(size + 1))
        self._times = times
        self._on_day = lru_cache(maxsize=1)(self._weights)

    def of(
        self, seeds: Sequence[int], time: int, most: int = NEIGHBOURS
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The ``most`` strongest neighbours of each of ``seeds`` and their weights; a neighbour of
        two seeds occurs twice."""
        weights = self._on_day(time // DAY_MS)
        items: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        strengths: list[NDArray[np.float64]] = [np.empty(0)]
        for seed in seeds:
            part = slice(self._first[seed], self._first[seed + 1])
            best = strongest(weights[part], self._hashes[part], most)
            items.append(self._right[part][best])
            strengths.append(weights[part][best])
        return np.concatenate(items), np.concatenate(strengths)

    def _weights(self, day: int) -> NDArray[np.float64]:
        """Of each distinct pair as of a midnight."""
        age = day * DAY_MS - self._times
        inside = (age > 0) & (age <= self._memory_ms)
        weights = np.exp2(-age[inside] / self._half_life_ms)
        counts = np.bincount(self._slots[inside], weights=weights, minlength=len(self._right))
        return counts.astype(np.float64)


def _pairs(
    users: NDArray[np.int32], items: NDArray[np.int32], times: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """All ordered pairs of different items within 30 minutes, and the later one's time."""
    lefts, rights, moments = [items[:0]], [items[:0]], [times[:0]]
    # A profile keeps 100 interactions, so a live worker pairs an event with at most 99 others.
    for apart in range(1, min(PROFILE_INTERACTIONS, len(users))):
        near = (users[apart:] == users[:-apart]) & (times[apart:] - times[:-apart] <= TOGETHER_MS)
        if not near.any():
            break
        earlier = np.flatnonzero(near & (items[apart:] != items[:-apart]))
        later = earlier + apart
        lefts += [items[later], items[earlier]]
        rights += [items[earlier], items[later]]
        moments += [times[later], times[later]]
    left, right = (np.concatenate(part).astype(np.int64) for part in (lefts, rights))
    return left, right, np.concatenate(moments)
