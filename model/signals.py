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
from model.features import DAY_MS, Histories, Interactions, PurchaseTable

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


_PLACE_BITS, _PLACE_MASK = np.uint64(8), np.uint64(0xFF)
"""A hash has 48 bits, so that a place fits beside it."""


class Origin(IntFlag):
    """Where a candidate came from; one may come from several."""

    SEARCH = 1
    REPEAT = 2
    TOGETHER = 4
    NEAREST = 8
    POPULAR = 16
    CHOSEN = 32
    NEW = 64
    RULE = 128


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
    chosen: NDArray[np.float32]
    """Decayed choices of the item after the same search; 0 without a query."""


RowMask: TypeAlias = Callable[[NDArray[np.int64]], NDArray[np.bool_]]


def seeds_of(histories: Histories) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The newest ``SEEDS`` distinct items of each of B histories, newest first.

    Returns:
        Hashes uint64 [S], user after user, and int64 [B + 1] where those of each begin.
    """
    # Only the last forty events are looked at: a user who is at one item for longer has fewer.
    places, held = histories.newest(4 * SEEDS)
    places, held = places[:, ::-1], held[:, ::-1]
    items = np.zeros(held.shape, np.uint64)
    items[held] = histories.items[places[held]]
    # Sorted with its place behind each hash: of equal items the newest comes first.
    place = np.arange(held.shape[1], dtype=np.uint64)
    ordered = np.sort((items << _PLACE_BITS) | place, axis=1)
    is_first = np.diff(ordered >> _PLACE_BITS, axis=1) != 0
    column = (ordered[:, 1:] & _PLACE_MASK).astype(np.int64)
    is_newest = np.ones(held.shape, np.bool_)
    np.put_along_axis(is_newest, column, is_first, axis=1)
    # Nothing newer is missing where there is an event, so that padding is no item's copy.
    is_newest &= held
    is_seed = is_newest & (np.cumsum(is_newest, axis=1) <= SEEDS)
    return items[is_seed], np.append(0, np.cumsum(is_seed.sum(axis=1)))


def own_repeat(
    purchases: PurchaseTable, times: NDArray[np.int64], half_life_days: float
) -> NDArray[np.float64]:
    """What each of N purchases adds to how strongly its user keeps buying the item.

    Args:
        purchases: of the users of L lists.
        times: when the cause of each list happened, epoch milliseconds.
        half_life_days: after which a purchase counts half; one of a later day counts as of today.

    Returns:
        float64 [N]. Of an item that was bought several times they add up.
    """
    ages = times[purchases.owner] // DAY_MS - purchases.days
    added: NDArray[np.float64] = np.exp2(-np.maximum(ages, 0) / half_life_days)
    return added


def looked_at(history: Interactions) -> int | None:
    """The item that the newest interaction has put before the user, as a hash; None for none."""
    if not len(history.items) or int(history.kinds[-1]) not in _LOOKED_AT_KINDS:
        return None
    return int(history.items[-1])


def strongest(
    weights: NDArray[np.float64], hashes: NDArray[np.uint64], most: int
) -> NDArray[np.int64]:
    """Places of the ``most`` greatest positive weights, greatest first; [N] each.

    Of equal weights the higher hash comes first, as in what is read of the shared counts.
    """
    places = np.flatnonzero(weights > 0)
    if len(places) > most:
        bar = np.partition(weights[places], -most)[-most]
        places = places[weights[places] >= bar]
    order = np.lexsort((hashes[places], weights[places]))[::-1]
    return places[order[:most]]


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
        chosen=pool.chosen,
    )
