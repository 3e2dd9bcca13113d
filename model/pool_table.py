"""Candidates of many lists at once: what the sources have found, united, joined and ordered.

A list has a few hundred candidates, and numpy spends more on being called than on so few numbers.
Here each call covers all lists of a micro-batch, or of a batch of questions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.signals import NO_ROWS, NO_VALUES, Origin, Pool, RowMask, Weighted

OwnedRowValues: TypeAlias = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""Of rows, and of the numbers of the lists that they stand in."""


class Entries(NamedTuple):
    """What one source has found for all lists; three arrays [M], list after list."""

    owner: NDArray[np.int64]
    """Number of the list."""
    rows: NDArray[np.int64]
    """Of the caller's table, -1 where an item has none."""
    values: "NDArray[np.floating]"


@dataclass(frozen=True)
class PoolTable:
    """Candidates of L lists, list after list."""

    pool: Pool
    """Of all lists together: columns [N]; rows are distinct and rising within a list."""
    owner: NDArray[np.int64]
    """int64 [N]: number of the list."""
    starts: NDArray[np.int64]
    """int64 [L + 1]: where each list begins, and where the last one ends."""

    def pool_of(self, number: int) -> Pool:
        """The candidates of one list."""
        here = slice(self.starts[number], self.starts[number + 1])
        return Pool(**{each.name: getattr(self.pool, each.name)[here] for each in fields(Pool)})


@dataclass(frozen=True)
class JoinedPools:
    """The pools of L lists and, behind all of them, the network's nearest items: columns [N]."""

    pool: Pool
    owner: NDArray[np.int64]
    network: NDArray[np.float32]
    """The network's score of each."""


class Chosen(NamedTuple):
    """The best of L lists."""

    places: NDArray[np.int64]
    """Among the candidates; list after list, best first."""
    ends: NDArray[np.int64]
    """int64 [L]: where each list ends."""


def entries_of_lists(found: Sequence[Weighted | None]) -> Entries:
    """What one source has for each list, None for nothing, as columns of all lists."""
    kept = [(number, each) for number, each in enumerate(found) if each is not None]
    sizes = np.array([len(each.rows) for _, each in kept], np.int64)
    return Entries(
        np.repeat(np.array([number for number, _ in kept], np.int64), sizes),
        np.concatenate([NO_ROWS, *(each.rows for _, each in kept)]),
        np.concatenate([NO_VALUES, *(each.values for _, each in kept)]),
    )


def unite_lists(
    found: Mapping[Origin, Entries], lists: int, usable: RowMask, popularity: OwnedRowValues
) -> PoolTable:
    """The candidates of L lists.

    Args:
        found: by source, of all sources but ``NEAREST``; a row of a list may occur several times,
            and then adds up.
        lists: how many there are, L.
        usable: which rows may be recommended now; -1 may not.
        popularity: decayed popularity of rows as of the times of their lists.
    """
    kept: dict[Origin, Entries] = {}
    for origin, (owner, rows, values) in found.items():
        may = usable(rows)
        kept[origin] = Entries(owner[may], rows[may], values[may])
    owner = np.concatenate([entries.owner for entries in kept.values()])
    rows = np.concatenate([entries.rows for entries in kept.values()])
    span = _span(rows)
    distinct, slots = np.unique(owner * span + rows, return_inverse=True)
    starts = np.searchsorted(distinct, np.arange(lists + 1) * span)
    owner = np.repeat(np.arange(lists), np.diff(starts))
    rows = distinct - owner * span
    sources = np.zeros(len(rows), np.uint8)
    sums = {origin: np.zeros(len(rows), np.float32) for origin in Origin}
    end = 0
    for origin, entries in kept.items():
        start, end = end, end + len(entries.rows)
        where = slots[start:end]
        sources[where] |= origin.value
        if origin is not Origin.POPULAR:
            sums[origin] = np.bincount(where, entries.values, len(rows)).astype(np.float32)
    pool = Pool(
        rows=rows,
        sources=sources,
        repeat=sums[Origin.REPEAT],
        together=sums[Origin.TOGETHER],
        popular=popularity(rows, owner),
        match=sums[Origin.SEARCH],
    )
    return PoolTable(pool, owner, starts)


def with_nearest_of_lists(
    table: PoolTable,
    scores: NDArray[np.float32],
    nearest: NDArray[np.int64],
    nearest_scores: NDArray[np.float32],
    nearest_popular: NDArray[np.float32],
    usable: RowMask,
) -> JoinedPools:
    """Join the network's own nearest items to the candidates that were scored beside them.

    Args:
        table: N candidates.
        scores: the network's, float32 [N].
        nearest: rows of the network's nearest items, int64 [L, K]; -1 for none.
        nearest_scores: the network's, float32 [L, K].
        nearest_popular: their decayed popularity, float32 [L, K].
        usable: which rows may be recommended now; -1 may not.
    """
    pool, kept = table.pool, usable(nearest)
    owner, rows = kept.nonzero()[0], nearest[kept]
    span = max(_span(rows), _span(pool.rows))
    keys, wanted = table.owner * span + pool.rows, owner * span + rows
    at = np.searchsorted(keys, wanted)
    known = at < len(keys)
    known[known] = keys[at[known]] == wanted[known]
    sources = pool.sources.copy()
    sources[at[known]] |= Origin.NEAREST.value
    fresh = ~known
    count = int(fresh.sum())
    nothing = np.zeros(count, np.float32)
    joined = Pool(
        rows=np.concatenate([pool.rows, rows[fresh]]),
        sources=np.concatenate([sources, np.full(count, Origin.NEAREST.value, np.uint8)]),
        repeat=np.concatenate([pool.repeat, nothing]),
        together=np.concatenate([pool.together, nothing]),
        popular=np.concatenate([pool.popular, nearest_popular[kept][fresh]]),
        match=np.concatenate([pool.match, nothing]),
    )
    return JoinedPools(
        joined,
        np.concatenate([table.owner, owner[fresh]]),
        np.concatenate([scores, nearest_scores[kept][fresh]]),
    )


def best_of_lists(
    owner: NDArray[np.int64],
    match: NDArray[np.float32],
    scores: NDArray[np.float32],
    rows: NDArray[np.int64],
    *,
    lists: int,
    length: int,
) -> Chosen:
    """The ``length`` best of each list: by match in steps of a tenth, then score, then lower row.

    Four arrays [N], in any order of lists.
    """
    # Two runs in order, as ``with_nearest_of_lists`` leaves them, are merged and not sorted.
    order = np.argsort(owner, kind="stable")
    sizes = np.bincount(owner, minlength=lists)
    steps = np.ceil(match[order] * 10)
    own = owner[order]
    bars = _bars(scores[order], sizes, length)
    hopeful = order[(steps > 0) | (scores[order] >= bars[own])]
    ranked = hopeful[
        np.lexsort((rows[hopeful], -scores[hopeful], -np.ceil(match[hopeful] * 10), owner[hopeful]))
    ]
    counts = np.bincount(owner[ranked], minlength=lists)
    standing = np.arange(len(ranked)) - np.repeat(np.cumsum(counts) - counts, counts)
    return Chosen(ranked[standing < length], np.cumsum(np.minimum(counts, length)))


def _bars(
    scores: NDArray[np.float32], sizes: NDArray[np.int64], length: int
) -> NDArray[np.float32]:
    """The score of each list that ``length`` of its candidates reach; scores list after list."""
    widest = int(sizes.max(initial=0))
    if widest <= length:
        return np.full(len(sizes), -np.inf, np.float32)
    table = np.full((len(sizes), widest), -np.inf, np.float32)
    table[np.arange(widest) < sizes[:, None]] = scores
    bars: NDArray[np.float32] = np.partition(table, -length, axis=1)[:, -length]
    return bars


def _span(rows: NDArray[np.int64]) -> int:
    """A number that is greater than each row."""
    return int(rows.max(initial=-1)) + 1
