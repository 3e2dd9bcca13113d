"""Candidates of a list and what is known of each, for evaluation and serving alike.

A caller brings the user's own items, neighbours and popular items as rows of a table of its own:
rows of the live catalogue in a worker, positions in a log where a log is judged. How many of them
are asked for, how they are united, what the network adds and what may not return is stated here
once, so that what is judged is what is served. ``model.pool_table`` does the same for all lists of
a micro-batch at once; a test holds the two equal to the last bit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntFlag
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.blend import Signals
from model.events import INTERACTION_KINDS, Cart, Click
from model.features import DAY_MS, Interactions, Purchases, repeat_strength

SEEDS = 10
"""Newest distinct items whose neighbours are taken; older ones say little about now."""
NEIGHBOURS = 64
"""Strongest neighbours of each seed."""
TOGETHER_MS = 30 * 60 * 1000
"""Two events of one user at most so far apart are a pair."""
POPULAR = 100
MATCHES = 100
"""Items that match a query."""

LOOKED_AT = (Click, Cart)
"""After these the user has the item before him: recommending it would be no help."""
_LOOKED_AT_KINDS = tuple(INTERACTION_KINDS[kind] for kind in LOOKED_AT)

NO_ROWS = np.empty(0, np.int64)
NO_VALUES = np.empty(0, np.float64)


class Origin(IntFlag):
    """Where a candidate came from; one may come from several."""

    SEARCH = 1
    REPEAT = 2
    TOGETHER = 4
    NEAREST = 8
    POPULAR = 16


class Weighted(NamedTuple):
    """Rows of the caller's table, -1 where an item has none, and what speaks for each: [M]."""

    rows: NDArray[np.int64]
    values: "NDArray[np.floating]"


NOTHING = Weighted(NO_ROWS, NO_VALUES)


class Found(NamedTuple):
    """What the sources have for one list; a row may occur several times, and then adds up."""

    repeat: Weighted
    """The user's own strengths, see ``own_repeat``."""
    together: Weighted
    """Neighbours of the seeds and their co-visits as of the list's time."""
    popular: NDArray[np.int64]
    """At most ``POPULAR`` rows."""
    search: Weighted = NOTHING
    """At most ``MATCHES`` rows, and the share of the query that each covers."""


@dataclass(frozen=True)
class Pool:
    """Candidates of one list: rows int64 [N], distinct, and float32 [N] signals."""

    rows: NDArray[np.int64]
    """Of the caller's table; rising, until ``with_nearest`` appends some."""
    sources: NDArray[np.uint8]
    """Bits of ``Origin``."""
    repeat: NDArray[np.float32]
    together: NDArray[np.float32]
    popular: NDArray[np.float32]
    match: NDArray[np.float32]
    """Share of the query that the item covers; 0 without a query."""


RowMask: TypeAlias = Callable[[NDArray[np.int64]], NDArray[np.bool_]]
RowValues: TypeAlias = Callable[[NDArray[np.int64]], NDArray[np.float32]]


def seeds_of(history: Interactions) -> list[int]:
    """The newest ``SEEDS`` distinct items of a history, newest first, as hashes."""
    # Only the last forty events are looked at: a user who is at one item for longer has fewer.
    return list(dict.fromkeys(history.items[: -4 * SEEDS - 1 : -1].tolist()))[:SEEDS]


def own_repeat(
    purchases: Purchases, time: int, half_life_days: float
) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    """Item hashes and repeat strengths for a list whose cause happened at ``time`` (epoch ms)."""
    return repeat_strength(purchases, time // DAY_MS, half_life_days)


def looked_at(history: Interactions) -> int | None:
    """The item that the newest interaction has put before the user, as a hash; None for none."""
    if not len(history.items) or int(history.kinds[-1]) not in _LOOKED_AT_KINDS:
        return None
    return int(history.items[-1])


def seen_items(history: Interactions, purchases: Purchases) -> NDArray[np.uint64]:
    """Hashes of everything that a profile knows a user to have dealt with."""
    return np.concatenate([history.items, purchases.items])


def strongest(
    weights: NDArray[np.float64], hashes: NDArray[np.uint64], most: int
) -> NDArray[np.int64]:
    """Places of the ``most`` greatest positive weights, greatest first; [N] each.

    Of equal weights the higher hash comes first, as in a sorted set of Redis.
    """
    places = np.flatnonzero(weights > 0)
    if len(places) > most:
        bar = np.partition(weights[places], -most)[-most]
        places = places[weights[places] >= bar]
    order = np.lexsort((hashes[places], weights[places]))[::-1]
    return places[order[:most]]


class Gatherer:
    """Unites what the sources have found.

    Args:
        usable: bool of the rows' shape: which may be recommended now; -1 may not.
    """

    def __init__(self, usable: RowMask) -> None:
        self._usable = usable
        self._slots = NO_ROWS

    def unite(self, found: Found, table_size: int, popularity: RowValues) -> Pool:
        """The candidates of one list.

        Args:
            found: of all sources.
            table_size: rows of the caller's table.
            popularity: decayed popularity of rows as of the list's time.
        """
        parts = {
            Origin.SEARCH: found.search,
            Origin.REPEAT: found.repeat,
            Origin.TOGETHER: found.together,
            Origin.POPULAR: Weighted(found.popular, np.ones(len(found.popular))),
        }
        kept: dict[Origin, Weighted] = {}
        for origin, (rows, values) in parts.items():
            usable = self._usable(rows)
            kept[origin] = Weighted(rows[usable], values[usable])
        rows, slots = self._distinct(
            np.concatenate([part.rows for part in kept.values()]), table_size
        )
        sources = np.zeros(len(rows), np.uint8)
        sums: dict[Origin, NDArray[np.float32]] = {}
        end = 0
        for origin, part in kept.items():
            start, end = end, end + len(part.rows)
            where = slots[start:end]
            sources[where] |= origin.value
            sums[origin] = np.bincount(where, part.values, len(rows)).astype(np.float32)
        return Pool(
            rows=rows,
            sources=sources,
            repeat=sums[Origin.REPEAT],
            together=sums[Origin.TOGETHER],
            popular=popularity(rows),
            match=sums[Origin.SEARCH],
        )

    def _distinct(
        self, rows: NDArray[np.int64], table_size: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The distinct rows in rising order, and the place of each given row among them.

        What ``np.unique`` does, at a fifth of its price: a row is a small number, so that a table
        over all of them replaces sorting. Of the table only what was just written is read.
        """
        if len(self._slots) < table_size:
            self._slots = np.empty(2 * table_size, np.int64)
        order = np.arange(len(rows))
        self._slots[rows] = order
        distinct = np.sort(rows[self._slots[rows] == order])
        self._slots[distinct] = order[: len(distinct)]
        return distinct, self._slots[rows]


def with_nearest(
    pool: Pool,
    scores: NDArray[np.float32],
    nearest: NDArray[np.int64],
    nearest_scores: NDArray[np.float32],
    nearest_popular: NDArray[np.float32],
    usable: RowMask,
) -> tuple[Pool, NDArray[np.float32]]:
    """Join the network's own nearest items to the candidates that were scored beside them.

    Args:
        pool: as ``Gatherer.unite`` makes it, N candidates.
        scores: the network's, float32 [N].
        nearest: rows of the network's nearest items, int64 [K]; -1 for none.
        nearest_scores: the network's, float32 [K].
        nearest_popular: their decayed popularity, float32 [K].
        usable: as for ``Gatherer``.

    Returns:
        The pool with those nearest items that it did not hold behind its own, and the network's
        scores of all.
    """
    kept = usable(nearest)
    rows = nearest[kept]
    at = np.searchsorted(pool.rows, rows)
    known = at < len(pool.rows)
    known[known] = pool.rows[at[known]] == rows[known]
    sources = pool.sources.copy()
    sources[at[known]] |= Origin.NEAREST.value
    fresh = rows[~known]
    nothing = np.zeros(len(fresh), np.float32)
    joined = Pool(
        rows=np.concatenate([pool.rows, fresh]),
        sources=np.concatenate([sources, np.full(len(fresh), Origin.NEAREST.value, np.uint8)]),
        repeat=np.concatenate([pool.repeat, nothing]),
        together=np.concatenate([pool.together, nothing]),
        popular=np.concatenate([pool.popular, nearest_popular[kept][~known]]),
        match=np.concatenate([pool.match, nothing]),
    )
    return joined, np.concatenate([scores, nearest_scores[kept][~known]])


def may_return(
    rows: NDArray[np.int64], current: int, seen: NDArray[np.int64], repeats_allowed: bool
) -> NDArray[np.bool_]:
    """Which of these rows may stand in this user's list, bool [N].

    Args:
        rows: of candidates.
        current: the row of ``looked_at``, -1 for none.
        seen: rows of ``seen_items``, -1 among them; unused where repeats are allowed.
        repeats_allowed: whether what the user dealt with may come back.
    """
    allowed: NDArray[np.bool_] = rows != current
    if not repeats_allowed:
        allowed &= ~np.isin(rows, seen, kind="table")
    return allowed


def signals_of(
    pool: Pool, network: NDArray[np.float32], vocabulary_rows: NDArray[np.int64]
) -> Signals:
    """The signals that ``model.blend`` mixes, of every candidate of a pool."""
    return Signals(
        rows=vocabulary_rows,
        network=network,
        repeat=pool.repeat,
        covisit=pool.together,
        popular=pool.popular,
    )


def best(
    match: NDArray[np.float32],
    scores: NDArray[np.float32],
    rows: NDArray[np.int64],
    length: int,
) -> NDArray[np.int64]:
    """Places of the ``length`` best: by match in steps of a tenth, then score, then lower row."""
    steps = np.ceil(match * 10)
    if len(scores) <= length:
        return np.lexsort((rows, -scores, -steps))
    # Sorting what cannot make the list would cost more than all the rest.
    bar = np.partition(scores, -length)[-length]
    hopeful = np.flatnonzero((steps > 0) | (scores >= bar))
    order = np.lexsort((rows[hopeful], -scores[hopeful], -steps[hopeful]))
    return hopeful[order[:length]]
