"""Candidates of one list the plain way, item by item: what ``model.pool_table`` is held against."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.signals import Origin, Pool, RowMask, Weighted

NOTHING = Weighted(np.empty(0, np.int64), np.empty(0))


class Found(NamedTuple):
    """What the sources have for one list; a row may occur several times, and then adds up."""

    repeat: Weighted
    together: Weighted
    popular: NDArray[np.int64]
    search: Weighted = NOTHING

    def of(self, origin: Origin) -> Weighted:
        """What one source has."""
        match origin:
            case Origin.POPULAR:
                return Weighted(self.popular, np.ones(len(self.popular)))
            case Origin.SEARCH:
                return self.search
            case Origin.REPEAT:
                return self.repeat
            case _:
                return self.together


def unite(
    found: Found, usable: RowMask, popularity: Callable[[NDArray[np.int64]], NDArray[np.float32]]
) -> Pool:
    """The candidates of one list."""
    origins = (Origin.SEARCH, Origin.REPEAT, Origin.TOGETHER, Origin.POPULAR)
    sums: dict[Origin, dict[int, float]] = {}
    for origin in origins:
        part, own = found.of(origin), sums.setdefault(origin, {})
        for row, value in zip(part.rows.tolist(), part.values.tolist(), strict=True):
            if usable(np.array([row]))[0]:
                own[row] = own.get(row, 0.0) + value
    rows = sorted(set().union(*sums.values()))

    def column(origin: Origin) -> NDArray[np.float32]:
        return np.array([sums[origin].get(row, 0.0) for row in rows], np.float32)

    return Pool(
        rows=np.array(rows, np.int64),
        sources=np.array([sum(o for o in origins if row in sums[o]) for row in rows], np.uint8),
        repeat=column(Origin.REPEAT),
        together=column(Origin.TOGETHER),
        popular=popularity(np.array(rows, np.int64)),
        match=column(Origin.SEARCH),
        chosen=np.zeros(len(rows), np.float32),
    )


def with_nearest(
    pool: Pool,
    scores: NDArray[np.float32],
    nearest: NDArray[np.int64],
    nearest_scores: NDArray[np.float32],
    nearest_popular: NDArray[np.float32],
    usable: RowMask,
) -> tuple[Pool, NDArray[np.float32]]:
    """The pool with the network's nearest items behind its own, and the network's scores."""
    held = pool.rows.tolist()
    sources = pool.sources.tolist()
    fresh: list[int] = []
    for place, row in enumerate(nearest.tolist()):
        if row in held:
            sources[held.index(row)] |= Origin.NEAREST.value
        elif usable(np.array([row]))[0]:
            fresh.append(place)
    nothing = np.zeros(len(fresh), np.float32)
    joined = Pool(
        rows=np.append(pool.rows, nearest[fresh]),
        sources=np.array(sources + [Origin.NEAREST.value] * len(fresh), np.uint8),
        repeat=np.append(pool.repeat, nothing),
        together=np.append(pool.together, nothing),
        popular=np.append(pool.popular, nearest_popular[fresh]),
        match=np.append(pool.match, nothing),
        chosen=np.append(pool.chosen, nothing),
    )
    return joined, np.append(scores, nearest_scores[fresh])


def best(
    match: NDArray[np.float32], scores: NDArray[np.float32], rows: NDArray[np.int64], length: int
) -> list[int]:
    """Places of the ``length`` best: by match in steps of a tenth, then score, then lower row."""
    return sorted(
        range(len(rows)), key=lambda at: (-np.ceil(match[at] * 10), -scores[at], rows[at])
    )[:length]
