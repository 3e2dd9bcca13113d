"""Logs of interactions, cut by time: what is learned from, and the next baskets to predict.

A basket is everything one user bought at one moment. Its history is frozen at its start, so
nothing of the basket itself, nor of anything later, reaches a prediction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model.events import INTERACTION_KINDS, Purchase
from model.features import DAY_MS, Interactions, Purchases
from model.ids import item_hashes

PROFILE_INTERACTIONS = 100
PROFILE_PURCHASES = 300
"""What a profile keeps of one user, and so all that a prediction may use."""

PURCHASE = INTERACTION_KINDS[Purchase]


@dataclass(frozen=True)
class EventLog:
    """Interactions in columns, sorted by (user, time); rows of equal time keep their order."""

    users: NDArray[np.int32]
    """Positions in ``user_ids``, ascending."""
    items: NDArray[np.int32]
    """Positions in ``item_ids``."""
    kinds: NDArray[np.uint8]
    """Numbers of ``model.events.INTERACTION_KINDS``."""
    times: NDArray[np.int64]
    """Epoch milliseconds."""
    user_ids: list[str]
    item_ids: list[str]

    @classmethod
    def from_columns(
        cls,
        users: NDArray[np.int32],
        items: NDArray[np.int32],
        kinds: NDArray[np.uint8],
        times: NDArray[np.int64],
        user_ids: Sequence[str],
        item_ids: Sequence[str],
    ) -> "EventLog":
        """Sort unordered columns (one row per interaction) into a log."""
        order = np.lexsort((times, users))
        return cls(
            users[order].astype(np.int32),
            items[order].astype(np.int32),
            kinds[order].astype(np.uint8),
            times[order].astype(np.int64),
            list(user_ids),
            list(item_ids),
        )

    def __len__(self) -> int:
        return len(self.users)

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        """uint64 [len(item_ids)]: the hash of each item."""
        return item_hashes(self.item_ids)

    @cached_property
    def first_rows(self) -> NDArray[np.int64]:
        """int64 [len(user_ids) + 1]: where each user's rows begin; the last one is the end."""
        return np.searchsorted(self.users, np.arange(len(self.user_ids) + 1)).astype(np.int64)

    def before(self, time: int) -> "EventLog":
        """The rows earlier than ``time`` (epoch ms), with the same codes."""
        kept = self.times < time
        return replace(
            self,
            users=self.users[kept],
            items=self.items[kept],
            kinds=self.kinds[kept],
            times=self.times[kept],
        )

    def interactions(self, start: int, end: int) -> Interactions:
        """What a profile keeps of rows ``start`` to ``end`` (of one user), oldest first."""
        start = max(start, end - PROFILE_INTERACTIONS)
        return Interactions(
            self.hashes[self.items[start:end]], self.kinds[start:end], self.times[start:end]
        )

    def purchases(
        self, start: int, end: int, limit: int | None = PROFILE_PURCHASES
    ) -> Purchases:
        """The newest ``limit`` distinct (day, item) purchases of rows of one user."""
        bought = np.flatnonzero(self.kinds[start:end] == PURCHASE) + start
        days = self.times[bought] // DAY_MS
        keys = days * len(self.item_ids) + self.items[bought]
        newest = np.unique(keys)[::-1][:limit]
        days, items = np.divmod(newest, len(self.item_ids))
        return Purchases(self.hashes[items], days.astype(np.uint16))


@dataclass(frozen=True)
class Baskets:
    """Baskets of a log, each with its frozen history; arrays of one length N."""

    log: EventLog
    history_starts: NDArray[np.int64]
    history_ends: NDArray[np.int64]
    """Rows ``history_starts[n]`` to ``history_ends[n]`` of the log came before basket n."""
    ends: NDArray[np.int64]
    """Rows ``history_ends[n]`` to ``ends[n]`` hold basket n."""

    def __len__(self) -> int:
        return len(self.ends)

    def targets(self, number: int) -> NDArray[np.int32]:
        """The distinct items of a basket, as positions in ``log.item_ids``."""
        rows = slice(self.history_ends[number], self.ends[number])
        items = self.log.items[rows]
        return np.unique(items[self.log.kinds[rows] == self.target_kind])

    @cached_property
    def target_kind(self) -> int:
        """What counts as the thing to predict: a purchase, or a click where none is sold."""
        return target_kind(self.log)

    def as_of(self, number: int) -> int:
        """The moment a live list for this basket was made: the newest event of its history."""
        end = int(self.history_ends[number])
        return int(self.log.times[max(end - 1, int(self.history_starts[number]))])


def target_kind(log: EventLog) -> int:
    """Purchases where the log has any; else the kind it has most of."""
    counts = np.bincount(log.kinds, minlength=PURCHASE + 1)
    return PURCHASE if counts[PURCHASE] else int(counts.argmax())


def next_baskets(log: EventLog, start: int, end: int) -> Baskets:
    """The baskets from ``start`` to before ``end`` (epoch ms), with the history before each."""
    moments = np.ones(len(log), bool)
    moments[1:] = (log.users[1:] != log.users[:-1]) | (log.times[1:] != log.times[:-1])
    firsts = np.flatnonzero(moments)
    ends = np.append(firsts[1:], len(log))
    sold = np.add.reduceat((log.kinds == target_kind(log)).astype(np.int64), firsts) > 0
    times = log.times[firsts]
    chosen = sold & (times >= start) & (times < end)
    firsts, ends = firsts[chosen], ends[chosen]
    return Baskets(log, log.first_rows[log.users[firsts]], firsts, ends)
