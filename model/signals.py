"""Candidates of a list and what is known of each, for evaluation and serving alike.

A caller brings the user's own items, neighbours and popular items as rows of a table of its own:
rows of the live catalogue in a worker, positions in a log where a log is judged. How many of them
are asked for, how they are united, what the network adds and what may not return is stated here
once and in ``model.pool_table``, so that what is judged is what is served.
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


@dataclass(frozen=True)
class Pool:
    """Candidates: rows int64 [N], distinct in a list, and float32 [N] signals."""

    rows: NDArray[np.int64]
    """Of the caller's table."""
    sources: NDArray[np.uint8]
    """Bits of ``Origin``."""
    repeat: NDArray[np.float32]
    together: NDArray[np.float32]
    popular: NDArray[np.float32]
    match: NDArray[np.float32]
    """Share of the query that the item covers; 0 without a query."""


RowMask: TypeAlias = Callable[[NDArray[np.int64]], NDArray[np.bool_]]


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
