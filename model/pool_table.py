"""Candidates of many lists at once: what the sources have found, united, joined and ordered.

A list has a few hundred candidates, and numpy spends more on being called than on so few numbers.
Here each call covers all lists of a micro-batch, or of a batch of questions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.key_places import Keys, places_of
from model.radix import radix_order
from model.signals import NO_ROWS, NO_VALUES, Origin, Pool, RowMask, Weighted

UNWEIGHTED = frozenset((Origin.POPULAR, Origin.NEW))
"""Sources that only propose: what speaks for their items is known of all items, or not yet."""

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


def only_usable(entries: Entries, usable: RowMask) -> Entries:
    """The entries that may be recommended now."""
    may = usable(entries.rows)
    return Entries(entries.owner[may], entries.rows[may], entries.values[may])


def unite_lists(
    found: Mapping[Origin, Entries], lists: int, popularity: OwnedRowValues
) -> tuple[PoolTable, dict[Origin, NDArray[np.int64]]]:
    """The candidates of L lists.

    Args:
        found: by source, of all sources but ``NEAREST``, what may be recommended; a row of a list
            may occur several times, and then adds up.
        lists: how many there are, L.
        popularity: decayed popularity of rows as of the times of their lists.

    Returns:
        The candidates, and the place of each entry of each source among them.
    """
    owner = np.concatenate([NO_ROWS, *(entries.owner for entries in found.values())])
    rows = np.concatenate([NO_ROWS, *(entries.rows for entries in found.values())])
    span = _span(rows)
    keys = owner * span + rows
    order = radix_order(keys, lists * span)
    ordered = keys[order]
    is_first = np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]
    slots = np.empty(len(keys), np.int64)
    slots[order] = np.cumsum(is_first.view(np.int8), dtype=np.int64) - 1
    firsts = order[is_first]
    owner, rows = owner[firsts], rows[firsts]
    starts = np.searchsorted(owner, np.arange(lists + 1))
    sources = np.zeros(len(rows), np.uint8)
    sums = {origin: np.zeros(len(rows), np.float32) for origin in Origin}
    places: dict[Origin, NDArray[np.int64]] = {}
    end = 0
    for origin, entries in found.items():
        start, end = end, end + len(entries.rows)
        places[origin] = where = slots[start:end]
        sources[where] |= origin.value
        if origin not in UNWEIGHTED and len(where):
            sums[origin] = np.bincount(where, entries.values, len(rows)).astype(np.float32)
    pool = Pool(
        rows=rows,
        sources=sources,
        repeat=sums[Origin.REPEAT],
        together=sums[Origin.TOGETHER],
        popular=popularity(rows, owner),
        match=sums[Origin.SEARCH],
        chosen=sums[Origin.CHOSEN],
    )
    return PoolTable(pool, owner, starts), places


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
    owner = np.repeat(np.arange(len(nearest)), kept.sum(axis=1))
    rows = nearest[kept]
    at = places_of(Keys(owner, rows), Keys(table.owner, pool.rows), len(nearest))
    fresh = at < 0
    sources = pool.sources.copy()
    sources[at[~fresh]] |= Origin.NEAREST.value
    count = int(fresh.sum())
    nothing = np.zeros(count, np.float32)
    joined = Pool(
        rows=np.concatenate([pool.rows, rows[fresh]]),
        sources=np.concatenate([sources, np.full(count, Origin.NEAREST.value, np.uint8)]),
        repeat=np.concatenate([pool.repeat, nothing]),
        together=np.concatenate([pool.together, nothing]),
        popular=np.concatenate([pool.popular, nearest_popular[kept][fresh]]),
        match=np.concatenate([pool.match, nothing]),
        chosen=np.concatenate([pool.chosen, nothing]),
    )
    return JoinedPools(
        joined,
        np.concatenate([table.owner, owner[fresh]]),
        np.concatenate([scores, nearest_scores[kept][fresh]]),
    )


def relevance(pool: Pool) -> NDArray[np.float32]:
    """How well each candidate answers the query, float32 [N]: by its words, or by others' choices.

    Of ``c`` choices after the same search ``c / (1 + c)`` is taken for the share of the query that
    the item covers: the mean of what is believed of an item that one in two choices is due to.
    """
    if not pool.chosen.any():
        return pool.match
    answered: NDArray[np.float32] = np.maximum(pool.match, pool.chosen / (1 + pool.chosen))
    return answered


def may_return(
    candidates: Keys, current: NDArray[np.int64], seen: Sequence[Keys]
) -> NDArray[np.bool_]:
    """Which candidates may stand in their users' lists, bool [N].

    Args:
        candidates: of L lists.
        current: the row of what each user looks at, int64 [L], -1 for nothing.
        seen: what the users may not get again; rows of -1 are nothing.
    """
    allowed: NDArray[np.bool_] = candidates.rows != current[candidates.owner]
    for owner, rows in seen:
        known = rows >= 0
        barred = Keys(owner[known], rows[known])
        allowed &= places_of(candidates, barred, len(current)) < 0
    return allowed


def best_of_lists(
    owner: NDArray[np.int64],
    match: NDArray[np.float32],
    scores: NDArray[np.float32],
    rows: NDArray[np.int64],
    *,
    lists: int,
    length: int,
    reserved: NDArray[np.int64] | None = None,
) -> Chosen:
    """The ``length`` best of each list: by match in steps of a tenth, then score, then lower row.

    Four arrays [N], in runs of which each goes through the lists in their order. A score of minus
    infinity keeps an item out. The candidates at the places ``reserved`` stand at the end of their
    lists whatever their scores are, but for the first place of a list.
    """
    if reserved is not None and len(reserved):
        return _with_reserved(owner, match, scores, rows, lists, length, reserved)
    # What reaches the bar of any run is more than enough; the order decides among the rest.
    bars = np.full(lists, -np.inf, np.float32)
    bounds = [0, *(1 + np.flatnonzero(owner[1:] < owner[:-1])).tolist(), len(owner)]
    for run in map(slice, bounds, bounds[1:]):
        np.maximum(bars, _bars(scores[run], owner[run], lists, length), out=bars)
    is_hopeful = scores >= bars[owner]
    has_query = bool(match.any())
    if has_query:
        is_hopeful |= match > 0
    hopeful = np.flatnonzero(is_hopeful & (scores > -np.inf))
    last, first = (rows[hopeful], -scores[hopeful]), owner[hopeful]
    steps = (-np.ceil(match[hopeful] * 10),) if has_query else ()
    ranked = hopeful[np.lexsort((*last, *steps, first))]
    counts = np.bincount(owner[ranked], minlength=lists)
    standing = _standing(owner[ranked], lists)
    return Chosen(ranked[standing < length], np.cumsum(np.minimum(counts, length)))


def _with_reserved(
    owner: NDArray[np.int64],
    match: NDArray[np.float32],
    scores: NDArray[np.float32],
    rows: NDArray[np.int64],
    lists: int,
    length: int,
    reserved: NDArray[np.int64],
) -> Chosen:
    """The best of each list, cut where they would leave no room for what is reserved."""
    behind = np.unique(reserved[scores[reserved] > -np.inf])
    behind = behind[np.lexsort((rows[behind], -scores[behind], owner[behind]))]
    # One place at least is the blend's.
    behind = behind[_standing(owner[behind], lists) < length - 1]
    others = scores.copy()
    others[behind] = -np.inf
    best = best_of_lists(owner, match, others, rows, lists=lists, length=length).places
    room = length - np.bincount(owner[behind], minlength=lists)
    kept = best[_standing(owner[best], lists) < room[owner[best]]]
    places = np.concatenate([kept, behind])
    order = np.argsort(owner[places], kind="stable")
    return Chosen(places[order], np.cumsum(np.bincount(owner[places], minlength=lists)))


def _standing(owner: NDArray[np.int64], lists: int) -> NDArray[np.int64]:
    """Of candidates in the order of their lists: how many stand before each in its list."""
    counts = np.bincount(owner, minlength=lists)
    return np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)


def _bars(
    scores: NDArray[np.float32], owner: NDArray[np.int64], lists: int, length: int
) -> NDArray[np.float32]:
    """The score that ``length`` of a list's candidates reach; scores list after list."""
    sizes = np.bincount(owner, minlength=lists)
    widest = int(sizes.max(initial=0))
    if widest <= length:
        return np.full(lists, -np.inf, np.float32)
    table = np.full((lists, widest), -np.inf, np.float32)
    table[np.arange(widest) < sizes[:, None]] = scores
    bars: NDArray[np.float32] = np.partition(table, -length, axis=1)[:, -length]
    return bars


def _span(rows: NDArray[np.int64]) -> int:
    """A number that is greater than each row."""
    return int(rows.max(initial=-1)) + 1
