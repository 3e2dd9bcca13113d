"""History to arrays: the only implementation, shared by training, evaluation and serving.

A change in what these functions return for the same history must raise ``FEATURE_VERSION``:
a bundle trained with another version is refused, because its network would read other inputs
than the ones it has learned from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeAlias, overload
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from model.ids import ITEM_HASH_BYTES, item_hashes
from model.words import tokens

FEATURE_VERSION = 1

PADDING = 0
UNKNOWN = 1
FIRST_ITEM = 2
"""Rows of the vocabulary: 0 pads short histories, 1 stands for every item it does not hold."""

KIND_COUNT = 6
"""Padding and the five kinds of ``model.events.INTERACTION_KINDS``."""

MAX_GAP_OCTAVE = 25
"""2**25 seconds are 388 days: longer pauses than a year all mean "back after a long time"."""
FIRST_GAP = 1
GAP_COUNT = 3 + MAX_GAP_OCTAVE
"""Padding, "nothing before", then one bucket per doubling of the pause from 0 seconds on."""

QUERY_ROWS = 8_192
"""Words of queries are hashed into so many rows, the first of which is padding (feature hashing;
Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", 2009)."""
QUERY_TOKENS = 16
"""Of one query: six words, or eight Chinese characters with their pairs."""

DAY_MS = 86_400_000

_NO_HASHES = np.empty(0, np.uint64)


class Interactions(NamedTuple):
    """The interactions of one user, oldest first; three arrays of one length."""

    items: NDArray[np.uint64]
    """Item hashes."""
    kinds: NDArray[np.uint8]
    """Numbers of ``model.events.INTERACTION_KINDS``."""
    times: NDArray[np.int64]
    """Epoch milliseconds."""


class Purchases(NamedTuple):
    """The distinct (day, item) purchases of one user, newest first; two arrays of one length."""

    items: NDArray[np.uint64]
    """Item hashes."""
    days: NDArray[np.uint16]
    """Days since 1970-01-01."""


@dataclass(frozen=True, eq=False)
class Histories(Sequence[Interactions]):
    """The interactions of B users in columns: user after user, each one's oldest first."""

    items: NDArray[np.uint64]
    """Item hashes [N]."""
    kinds: NDArray[np.uint8]
    times: NDArray[np.int64]
    starts: NDArray[np.int64]
    """int64 [B + 1]: where each user's begin, and where the last one's end."""

    @classmethod
    def of(cls, users: Sequence[Interactions]) -> "Histories":
        """The same users, in columns."""
        if isinstance(users, Histories):
            return users
        return cls(
            np.concatenate([_NO_HASHES, *(user.items for user in users)]),
            np.concatenate([np.empty(0, np.uint8), *(user.kinds for user in users)]),
            np.concatenate([np.empty(0, np.int64), *(user.times for user in users)]),
            np.cumsum([0, *(len(user.items) for user in users)]),
        )

    def __len__(self) -> int:
        """How many users."""
        return len(self.starts) - 1

    @overload
    def __getitem__(self, number: int) -> Interactions: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Interactions]: ...
    def __getitem__(self, number: int | slice) -> Interactions | Sequence[Interactions]:
        """Of one user, or of some. Raises IndexError where there is no such user."""
        if isinstance(number, slice):
            return [self[each] for each in range(len(self))[number]]
        user = range(len(self))[number]
        here = slice(self.starts[user], self.starts[user + 1])
        return Interactions(self.items[here], self.kinds[here], self.times[here])

    @property
    def owner(self) -> NDArray[np.int64]:
        """int64 [N]: number of the user of each."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def newest(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Where the newest ``count`` interactions of each user stand, the newest last.

        Returns:
            int64 [B, count], and which of them there are: who has fewer begins further right.
        """
        places = self.starts[1:, None] + np.arange(-count, 0)
        return places, places >= self.starts[:-1, None]


class PurchaseTable(NamedTuple):
    """The distinct (day, item) purchases of B users, user after user, each one's newest first."""

    items: NDArray[np.uint64]
    """Item hashes [N]."""
    days: NDArray[np.uint16]
    """Days since 1970-01-01."""
    owner: NDArray[np.int64]
    """Number of the user."""

    @classmethod
    def of(cls, users: Sequence[Purchases]) -> "PurchaseTable":
        """The same users, in columns."""
        return cls(
            np.concatenate([_NO_HASHES, *(user.items for user in users)]),
            np.concatenate([np.empty(0, np.uint16), *(user.days for user in users)]),
            np.repeat(np.arange(len(users)), [len(user.items) for user in users]),
        )


class Searches(NamedTuple):
    """Searches of one user, oldest first; two of one length."""

    times: NDArray[np.int64]
    """Epoch milliseconds."""
    texts: Sequence[str]
    """What a profile keeps of each query."""


NO_SEARCHES = Searches(np.empty(0, np.int64), ())


class Features(NamedTuple):
    """What the network reads: int64 [B, L] each, newest last, padded with 0 on the left."""

    items: NDArray[np.int64]
    kinds: NDArray[np.int64]
    gaps: NDArray[np.int64]


class SearchFeatures(NamedTuple):
    """What a network reads that knows queries; the first three as in ``Features``."""

    items: NDArray[np.int64]
    kinds: NDArray[np.int64]
    gaps: NDArray[np.int64]
    queries: NDArray[np.int64]
    """int64 [B, L, W], see ``query_windows``."""


class WhoFeatures(NamedTuple):
    """What a network reads that knows who users are; the first three as in ``Features``."""

    items: NDArray[np.int64]
    kinds: NDArray[np.int64]
    gaps: NDArray[np.int64]
    who: NDArray[np.int64]
    """int64 [B, T], see ``who_rows``."""


class SearchWhoFeatures(NamedTuple):
    """What a network reads that knows both."""

    items: NDArray[np.int64]
    kinds: NDArray[np.int64]
    gaps: NDArray[np.int64]
    queries: NDArray[np.int64]
    who: NDArray[np.int64]


NetworkInputs: TypeAlias = Features | SearchFeatures | WhoFeatures | SearchWhoFeatures
"""The fields have the names of the graph's inputs."""


class Vocabulary:
    """The items a network knows, as rows of its embedding table.

    Args:
        ids: distinct item ids; ``ids[i]`` gets row ``FIRST_ITEM + i``.

    Raises:
        ValueError: when two ids are equal or share a hash.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids = list(ids)
        self.hashes: NDArray[np.uint64] = item_hashes(self.ids)
        """uint64 [len(ids)], in the order of ``ids``."""
        order = np.argsort(self.hashes, kind="stable")
        self._sorted = self.hashes[order]
        self._rows = (order + FIRST_ITEM).astype(np.int64)
        # Hashes are uniform: their leading bits say where to look, a tenth of a binary search's
        # cost. Eight buckets an item keep the longest bucket at two or three items.
        bits = max(len(self.ids) * 8, 2).bit_length()
        self._shift = np.uint64(8 * ITEM_HASH_BYTES - bits)
        buckets = (self._sorted >> self._shift).astype(np.int64)
        sizes = np.bincount(buckets, minlength=1 << bits)
        self._first = np.minimum(np.cumsum(sizes) - sizes, max(len(self.ids) - 1, 0))
        self.longest_bucket = int(sizes.max())
        """Steps of a look-up."""
        if len(self.ids) > 1 and (self._sorted[1:] == self._sorted[:-1]).any():
            clash = int(np.flatnonzero(self._sorted[1:] == self._sorted[:-1])[0])
            first, second = (self.ids[order[clash + offset]] for offset in (0, 1))
            raise ValueError(f"items {first!r} and {second!r} share a hash; drop one of them")

    def __len__(self) -> int:
        """Rows of the embedding table, padding and unknown included."""
        return FIRST_ITEM + len(self.ids)

    def index_of(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The row of each hash, of the same shape; ``UNKNOWN`` where it is not held."""
        if not self.ids:
            return np.full(hashes.shape, UNKNOWN, np.int64)
        wanted = hashes.ravel()
        slots = self._first[wanted >> self._shift]
        rows = np.where(self._sorted[slots] == wanted, self._rows[slots], UNKNOWN)
        # Nearly all that are held are the first of their buckets.
        left = np.flatnonzero(rows == UNKNOWN)
        wanted, slots = wanted[left], slots[left]
        for _ in range(1, self.longest_bucket):
            slots = np.minimum(slots + 1, len(self._sorted) - 1)
            found = self._sorted[slots] == wanted
            rows[left[found]] = self._rows[slots[found]]
            left, wanted, slots = left[~found], wanted[~found], slots[~found]
        return rows.reshape(hashes.shape)


@overload
def featurize(
    histories: Sequence[Interactions],
    vocabulary: Vocabulary,
    length: int,
    searches: None = None,
) -> Features: ...
@overload
def featurize(
    histories: Sequence[Interactions],
    vocabulary: Vocabulary,
    length: int,
    searches: Sequence[Searches],
) -> SearchFeatures: ...
@overload
def featurize(
    histories: Sequence[Interactions],
    vocabulary: Vocabulary,
    length: int,
    searches: Sequence[Searches] | None,
    who: NDArray[np.int64] | None = None,
) -> NetworkInputs: ...
def featurize(
    histories: Sequence[Interactions],
    vocabulary: Vocabulary,
    length: int,
    searches: Sequence[Searches] | None = None,
    who: NDArray[np.int64] | None = None,
) -> NetworkInputs:
    """The newest ``length`` interactions of each user, as the network reads them.

    Args:
        histories: one per user (B); may be empty ones.
        vocabulary: turns item hashes into rows.
        length: L, the positions the network has.
        searches: one per user, for a network that reads queries; None for any other.
        who: ``who_rows`` of the users, for a network that reads them; None for any other.

    Returns:
        Three int64 arrays [B, L], ``query_windows`` where searches are given, and ``who``. A gap
        is the bucket of the pause before an interaction; it counts the interaction just older than
        the window, where the history still has it.
    """
    columns = Histories.of(histories)
    features = _interaction_windows(columns, vocabulary, length)
    if searches is None:
        return features if who is None else WhoFeatures(*features, who)
    queries = query_windows(columns, searches, length)
    if who is None:
        return SearchFeatures(*features, queries)
    return SearchWhoFeatures(*features, queries, who)


def _interaction_windows(histories: Histories, vocabulary: Vocabulary, length: int) -> Features:
    places, held = histories.newest(length)
    kept = places[held]
    # The very first pause is none; what stands before it, if anything, is another user's.
    pauses = histories.times[kept] - histories.times[np.maximum(kept - 1, 0)]
    is_first = (places == histories.starts[:-1, None])[held]

    def window(values: NDArray[np.int64]) -> NDArray[np.int64]:
        cells = np.zeros(held.shape, np.int64)
        cells[held] = values
        return cells

    return Features(
        window(vocabulary.index_of(histories.items[kept])),
        window(histories.kinds[kept].astype(np.int64)),
        window(np.where(is_first, FIRST_GAP, _gap_of(pauses))),
    )


def query_windows(
    histories: Sequence[Interactions], searches: Sequence[Searches], length: int
) -> NDArray[np.int64]:
    """The query that is open after each interaction: the newest search that came no earlier than
    it and before the next one. So the newest position holds the query that is open now, and every
    other one the query that led to the interaction after it.

    Args:
        histories: one per user (B).
        searches: one per user.
        length: L.

    Returns:
        int64 [B, L, W], rows of words from 1 on, padded with 0 on the right to the W of the
        longest query, at least 1. Who has no interaction has his query at the newest position.
    """
    columns = Histories.of(histories)
    open_queries: list[tuple[int, int, tuple[int, ...]]] = []
    for user, asked in enumerate(searches):
        if len(asked.texts):
            times = columns.times[columns.starts[user] : columns.starts[user + 1]]
            after = np.searchsorted(times, asked.times, side="right") - 1
            places = (length - len(times) + after).tolist()
            # Of several at one place the newest is written last.
            newest = dict(zip(places, asked.texts, strict=True))
            open_queries += [
                (user, place, query_rows(text)) for place, text in newest.items() if place >= 0
            ]
    widest = max((len(rows) for _, _, rows in open_queries), default=0)
    cells = np.zeros((len(histories), length, max(widest, 1)), np.int64)
    for user, place, rows in open_queries:
        cells[user, place, : len(rows)] = rows
    return cells


def needed_lengths(items: NDArray[np.int64], *, reads_queries: bool) -> list[int]:
    """How many of the newest positions say all of each user; the ones before are padding.

    Who has no interaction attends to all padding alike. That is one vector however often it is
    there, unless a query stands at the newest position: then every position counts.

    Args:
        items: int64 [B, L], as in ``Features``.
        reads_queries: whether the network does.

    Returns:
        Of each user, at least 1.
    """
    if len(items) < 16:
        # Of few, each alone: after a run of the network the code of a sum is in no cache.
        events = [int(np.count_nonzero(row)) for row in items]
    else:
        events = (items != PADDING).sum(axis=1).tolist()
    nobody = items.shape[1] if reads_queries else 1
    return [count or nobody for count in events]


@lru_cache(maxsize=1 << 16)
def query_rows(text: str) -> tuple[int, ...]:
    """The rows of a query's distinct words, at most ``QUERY_TOKENS``; the longest words first, for
    they say most, and pairs of characters before single ones."""
    words = sorted(dict.fromkeys(tokens(text)), key=len, reverse=True)[:QUERY_TOKENS]
    return tuple(1 + crc32(word.encode()) % (QUERY_ROWS - 1) for word in words)


def gap_buckets(times: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bucket of the pause before each event; ``starts`` are the users' first events."""
    gaps = _gap_of(np.diff(times, prepend=times[:1]))
    gaps[starts] = FIRST_GAP
    return gaps


def _gap_of(pauses: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bucket of each pause, in milliseconds."""
    # frexp(1 + s) has exponent 1 + floor(log2(1 + s)): exact, and cheaper than a logarithm.
    octaves = np.frexp(1.0 + np.maximum(pauses, 0) // 1000)[1].astype(np.int64) - 1
    return np.minimum(octaves, MAX_GAP_OCTAVE) + FIRST_GAP + 1
