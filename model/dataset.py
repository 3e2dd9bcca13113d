"""Logs of interactions, cut by time: what is learned from, and the next baskets to predict.

A basket is everything one user bought at one moment. Its history is frozen at its start, so
nothing of the basket itself, nor of anything later, reaches a prediction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model.events import INTERACTION_KINDS, Purchase
from model.features import (
    DAY_MS,
    FIRST_ITEM,
    Interactions,
    NetworkInputs,
    Purchases,
    Searches,
    Vocabulary,
    featurize,
)
from model.ids import ITEM_HASH_BYTES
from model.search_log import SearchLog, no_searches
from model.trait_log import TraitLog, no_traits
from model.who import who_rows

PROFILE_INTERACTIONS = 100
PROFILE_PURCHASES = 280
PROFILE_SEARCHES = 10
"""What a profile keeps of one user, and so all that a prediction may use."""

LAST_DAY = 0xFFFF
HASH_BITS = np.uint64(8 * ITEM_HASH_BYTES)
ITEM_HASH = np.uint64((1 << 8 * ITEM_HASH_BYTES) - 1)
"""A purchase as a profile keeps it is one number: the day in two bytes, the item's hash in six."""

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
    sessions: NDArray[np.int32] | None = None
    """A number for each session id, -1 where an event names none; None where no event does."""
    searches: SearchLog = field(default_factory=no_searches)
    traits: TraitLog = field(default_factory=no_traits)

    @classmethod
    def from_columns(
        cls,
        users: NDArray[np.int32],
        items: NDArray[np.int32],
        kinds: NDArray[np.uint8],
        times: NDArray[np.int64],
        user_ids: Sequence[str],
        item_ids: Sequence[str],
        sessions: NDArray[np.int32] | None = None,
        searches: SearchLog | None = None,
        traits: TraitLog | None = None,
    ) -> "EventLog":
        """Sort unordered columns (one row per interaction) into a log; the others come sorted."""
        order = np.lexsort((times, users))
        return cls(
            users[order].astype(np.int32),
            items[order].astype(np.int32),
            kinds[order].astype(np.uint8),
            times[order].astype(np.int64),
            list(user_ids),
            list(item_ids),
            None if sessions is None else sessions[order].astype(np.int32),
            no_searches() if searches is None else searches,
            no_traits() if traits is None else traits,
        )

    def __len__(self) -> int:
        return len(self.users)

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        """uint64 [len(item_ids)]: the hash of each item."""
        return self._vocabulary.hashes

    @cached_property
    def first_times(self) -> NDArray[np.int64]:
        """int64 [len(item_ids)]: epoch ms of the first event of each item; of one without any, the
        end of all times."""
        first = np.full(len(self.item_ids), np.iinfo(np.int64).max)
        np.minimum.at(first, self.items, self.times)
        return first

    @cached_property
    def first_rows(self) -> NDArray[np.int64]:
        """int64 [len(user_ids) + 1]: where each user's rows begin; the last one is the end."""
        return np.searchsorted(self.users, np.arange(len(self.user_ids) + 1)).astype(np.int64)

    @cached_property
    def moments(self) -> NDArray[np.int64]:
        """int64 [M]: the first row of each moment, that is, of one user at one time."""
        begins = np.ones(len(self), bool)
        begins[1:] = (self.users[1:] != self.users[:-1]) | (self.times[1:] != self.times[:-1])
        return np.flatnonzero(begins)

    def before(self, time: int) -> "EventLog":
        """The rows, searches and traits earlier than ``time`` (epoch ms), with the same codes."""
        kept = self.times < time
        earlier = replace(
            self,
            users=self.users[kept],
            items=self.items[kept],
            kinds=self.kinds[kept],
            times=self.times[kept],
            sessions=None if self.sessions is None else self.sessions[kept],
            searches=self.searches.before(time),
            traits=self.traits.before(time),
        )
        # Same codes, same hashes: keeping them saves hashing every id again.
        earlier.__dict__["_vocabulary"] = self._vocabulary
        return earlier

    def interactions(self, start: int, end: int) -> Interactions:
        """What a profile keeps of rows ``start`` to ``end`` (of one user), oldest first."""
        start = max(start, end - PROFILE_INTERACTIONS)
        return Interactions(
            self.hashes[self.items[start:end]], self.kinds[start:end], self.times[start:end]
        )

    def purchases(self, start: int, end: int) -> Purchases:
        """What a profile keeps of the purchases in rows ``start`` to ``end`` (of one user)."""
        days, items = self.purchase_days(start, end, PROFILE_PURCHASES)
        return Purchases(self.hashes[items], days.astype(np.uint16))

    def purchase_days(
        self, start: int, end: int, limit: int | None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The newest ``limit`` distinct (day, item) purchases, newest first; None for all.

        Those of one day come by hash, the highest first: so does a profile keep them.
        """
        bought = np.flatnonzero(self.kinds[start:end] == PURCHASE) + start
        days = np.minimum(self.times[bought] // DAY_MS, LAST_DAY).astype(np.uint64)
        keys = np.unique((days << HASH_BITS) | self.hashes[self.items[bought]])
        newest = keys[::-1][:limit]
        return (newest >> HASH_BITS).astype(np.int64), self.positions_of(newest & ITEM_HASH)

    def positions_of(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Positions in ``item_ids`` of hashes of this log's items."""
        return self._vocabulary.index_of(hashes) - FIRST_ITEM

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self.item_ids)


def spread_numbers(total: int, most: int) -> NDArray[np.int64]:
    """At most ``most`` of the numbers below ``total``, evenly spread."""
    return np.linspace(0, total - 1, min(total, most)).astype(np.int64)


@dataclass(frozen=True)
class Baskets:
    """Baskets of a log, each with its frozen history; arrays of one length N."""

    log: EventLog
    history_starts: NDArray[np.int64]
    history_ends: NDArray[np.int64]
    """Rows ``history_starts[n]`` to ``history_ends[n]`` of the log came before basket n."""
    ends: NDArray[np.int64]
    """Rows ``history_ends[n]`` to ``ends[n]`` hold basket n."""
    kind: int | None = field(default=None, kw_only=True)
    """What is to be predicted; None for ``target_kind`` of the log."""
    known_until: NDArray[np.int64] | None = field(default=None, kw_only=True)
    """Epoch ms before which the searches of a history were made; None where that is each basket's
    own time."""

    def __len__(self) -> int:
        return len(self.ends)

    def targets(self, number: int) -> NDArray[np.int32]:
        """The distinct items of a basket, as positions in ``log.item_ids``."""
        rows = slice(self.history_ends[number], self.ends[number])
        items = self.log.items[rows]
        return np.unique(items[self.log.kinds[rows] == self.target_kind])

    @cached_property
    def target_kind(self) -> int:
        """What counts as the thing to predict."""
        return target_kind(self.log) if self.kind is None else self.kind

    def target_sets(self) -> list[set[int]]:
        """The items of every basket."""
        return self._target_sets

    @cached_property
    def _target_sets(self) -> list[set[int]]:
        return [set(self.targets(number).tolist()) for number in range(len(self))]

    def time(self, number: int) -> int:
        """When a basket was bought, epoch milliseconds."""
        return int(self.log.times[self.history_ends[number]])

    def as_of(self, number: int) -> int:
        """When a live list for this basket was made: at the newest event of its history."""
        end = int(self.history_ends[number])
        return int(self.log.times[max(end - 1, int(self.history_starts[number]))])

    def interactions(self, number: int) -> Interactions:
        """What a profile holds just before a basket."""
        return self.log.interactions(
            int(self.history_starts[number]), int(self.history_ends[number])
        )

    def purchases(self, number: int) -> Purchases:
        """What a profile holds just before a basket."""
        return self.log.purchases(int(self.history_starts[number]), int(self.history_ends[number]))

    def searches(self, number: int) -> Searches:
        """What a profile holds just before a basket."""
        every = self.log.searches.of(self._user(number), 0, self._known_until(number))
        return Searches(every.times[-PROFILE_SEARCHES:], every.texts[-PROFILE_SEARCHES:])

    def traits(self, number: int) -> bytes:
        """What a profile holds just before a basket, as a section of ``model.traits``."""
        return self.log.traits.of(self._user(number), self._known_until(number))

    def _user(self, number: int) -> int:
        return int(self.log.users[self.ends[number] - 1])

    def _known_until(self, number: int) -> int:
        return self.time(number) if self.known_until is None else int(self.known_until[number])

    def inputs(
        self,
        numbers: Iterable[int],
        vocabulary: Vocabulary,
        length: int,
        *,
        queries: bool,
        who: bool = False,
    ) -> NetworkInputs:
        """What a network reads of the profiles just before some baskets.

        Args:
            numbers: of the baskets (B).
            vocabulary: of the network.
            length: L.
            queries: whether it reads queries.
            who: whether it reads who users are.
        """
        asked = list(numbers)
        return featurize(
            [self.interactions(number) for number in asked],
            vocabulary,
            length,
            [self.searches(number) for number in asked] if queries else None,
            who_rows([self.traits(number) for number in asked]) if who else None,
        )

    def take(self, numbers: NDArray[np.int64]) -> "Baskets":
        """Some of the baskets."""
        return Baskets(
            self.log,
            self.history_starts[numbers],
            self.history_ends[numbers],
            self.ends[numbers],
            kind=self.kind,
            known_until=None if self.known_until is None else self.known_until[numbers],
        )

    def spread(self, count: int) -> "Baskets":
        """At most ``count`` of the baskets, evenly spread."""
        return self.take(spread_numbers(len(self), count))


def target_kind(log: EventLog) -> int:
    """Purchases where the log has any; else the kind it has most of."""
    counts = np.bincount(log.kinds, minlength=PURCHASE + 1)
    return PURCHASE if counts[PURCHASE] else int(counts.argmax())


def next_baskets(log: EventLog, start: int, end: int, kind: int | None = None) -> Baskets:
    """The baskets from ``start`` to before ``end`` (epoch ms), with the history before each.

    Args:
        log: all rows.
        start, end: epoch milliseconds.
        kind: what a basket is of, such as all clicks of one moment; None for ``target_kind``.
    """
    firsts = log.moments
    ends = np.append(firsts[1:], len(log))
    asked = target_kind(log) if kind is None else kind
    sold = np.add.reduceat((log.kinds == asked).astype(np.int64), firsts) > 0
    times = log.times[firsts]
    chosen = sold & (times >= start) & (times < end)
    firsts, ends = firsts[chosen], ends[chosen]
    return Baskets(log, log.first_rows[log.users[firsts]], firsts, ends, kind=kind)


@dataclass(frozen=True)
class Split:
    """A log cut in time: learn, then choose, then judge once."""

    train: EventLog
    validation: Baskets
    test: Baskets


def cut_times(log: EventLog, validation_days: int, test_days: int) -> tuple[int, int]:
    """The midnights (UTC, epoch ms) at which the validation days and the test begin."""
    last_day = int(log.times.max(initial=0)) // DAY_MS
    test_from = (last_day - test_days) * DAY_MS
    return test_from - validation_days * DAY_MS, test_from


def split_by_time(
    log: EventLog, *, validation_days: int, test_days: int, kind: int | None = None
) -> Split:
    """The last ``test_days`` are for the test, the ``validation_days`` before them for choices.

    Both begin at a midnight (UTC); the test ends with the log. Baskets are of ``kind``; None for
    ``target_kind`` of what came before the test, which has no say in what is to be predicted.

    Raises:
        ValueError: when a part would be empty.
    """
    validation_from, test_from = cut_times(log, validation_days, test_days)
    if kind is None:
        kind = target_kind(log.before(test_from))
    split = Split(
        log.before(validation_from),
        next_baskets(log, validation_from, test_from, kind),
        next_baskets(log, test_from, int(log.times.max(initial=0)) + 1, kind),
    )
    for name, part in (
        ("train", split.train),
        ("validate", split.validation),
        ("test", split.test),
    ):
        if not len(part):
            raise ValueError(
                f"nothing to {name} on: the log has no such events when its last {test_days} days "
                f"are for the test and {validation_days} before them for validation; give a longer "
                "log or fewer days"
            )
    return split
