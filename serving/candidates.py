"""Candidates of a list: items from several named sources, each item with all of its sources.

``search`` matches the query; ``repeat`` is what the user keeps buying; ``together`` is seen
together with the user's newest items; ``popular`` is popular now; ``nearest`` comes out of the
network itself and joins in ``serving.rerank``.
"""

from collections import OrderedDict
from dataclasses import dataclass
from time import monotonic
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from model.features import Interactions, Purchases
from model.signals import (
    MATCHES,
    NEIGHBOURS,
    NO_ROWS,
    NO_VALUES,
    NOTHING,
    POPULAR,
    Found,
    Gatherer,
    Origin,
    Pool,
    Weighted,
    own_repeat,
    seeds_of,
    strongest,
)
from serving.catalog import Catalog
from serving.counts import Counts, Neighbours
from serving.popularity import Popularity
from serving.recommendation import AsOf, Source

SOURCES: tuple[Source, ...] = get_args(Source)
SOURCE_BIT: dict[Source, int] = {source: Origin[source.upper()].value for source in SOURCES}

NEIGHBOURS_FRESH_S = 5.0
"""How long neighbours may lag behind the stream: a few seconds, for one read per item and worker
instead of one per event."""
CACHED_ITEMS = 50_000
"""Times 64 neighbours of 24 bytes: 77 MB."""


@dataclass(frozen=True)
class ListRequest:
    """A list to make."""

    user_id: str
    event_id: str
    time: int
    """Event time of the cause, epoch milliseconds."""
    as_of: AsOf
    history: Interactions
    purchases: Purchases
    query: str | None = None
    current_item: str | None = None
    """The item the user looks at right now: recommending it would be no help."""


@dataclass(frozen=True)
class Ties:
    """Which of the user's newest items are seen together with what; three arrays [M]."""

    seeds: NDArray[np.uint64]
    """Hash of the user's item."""
    rows: NDArray[np.int64]
    """Catalogue row of the other item, -1 where it has none."""
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class Candidates(Pool):
    """Candidates of one list, as catalogue rows."""

    ties: Ties
    """What "together" can be put down to."""


@dataclass
class _Cached:
    fetched_s: float
    neighbours: Neighbours
    edition: int
    """Of the catalogue, for ``rows``."""
    rows: NDArray[np.int64]


class CandidateSources:
    """Gathers candidates from the catalogue, the shared counts and the user's own profile."""

    def __init__(self, catalog: Catalog, counts: Counts, *, repeat_half_life_days: float) -> None:
        self._catalog = catalog
        self._counts = counts
        self._repeat_half_life_days = repeat_half_life_days
        self._neighbours: OrderedDict[int, _Cached] = OrderedDict()
        self.popular_now = Popularity(catalog)
        self._gatherer = Gatherer(catalog.usable)

    async def refresh_popular(self) -> None:
        """Read the popular items anew; call every few seconds."""
        popular = await self._counts.popular()
        order = strongest(popular.weights, popular.items, len(popular.items))
        self.popular_now.refresh(Neighbours(popular.items[order], popular.weights[order]))

    async def gather(self, requests: list[ListRequest]) -> list[Candidates]:
        """The candidates of each request; at most one trip to Redis for all of them."""
        seeds = [seeds_of(request.history) for request in requests]
        await self._fetch_neighbours(seeds)
        rows = self.popular_now.rows
        popular = rows[self._catalog.usable(rows)][:POPULAR]
        return [
            self._gather_one(request, self._ties(own), popular)
            for request, own in zip(requests, seeds, strict=True)
        ]

    async def _fetch_neighbours(self, seeds: list[list[int]]) -> None:
        wanted = dict.fromkeys(seed for own in seeds for seed in own)
        now = monotonic()
        stale = [
            seed
            for seed in wanted
            if (held := self._neighbours.get(seed)) is None
            or now - held.fetched_s > NEIGHBOURS_FRESH_S
        ]
        for seed, fetched in zip(
            stale, await self._counts.neighbours(stale, NEIGHBOURS), strict=True
        ):
            rows = self._catalog.rows_of_hashes(fetched.items)
            self._neighbours[seed] = _Cached(now, fetched, self._catalog.edition, rows)
        for seed in wanted:
            self._neighbours.move_to_end(seed)
        while len(self._neighbours) > max(CACHED_ITEMS, len(wanted)):
            self._neighbours.popitem(last=False)

    def _ties(self, seeds: list[int]) -> Ties:
        cached = [self._neighbours[seed] for seed in seeds]
        for each in cached:
            if each.edition != self._catalog.edition:
                each.rows = self._catalog.rows_of_hashes(each.neighbours.items)
                each.edition = self._catalog.edition
        return Ties(
            seeds=np.repeat(
                np.array(seeds, np.uint64), np.array([len(each.rows) for each in cached], np.int64)
            ),
            rows=np.concatenate([NO_ROWS, *(each.rows for each in cached)]),
            weights=np.concatenate([NO_VALUES, *(each.neighbours.weights for each in cached)]),
        )

    def _gather_one(
        self, request: ListRequest, ties: Ties, popular: NDArray[np.int64]
    ) -> Candidates:
        catalog = self._catalog
        bought, strength = own_repeat(request.purchases, request.time, self._repeat_half_life_days)
        found = Found(
            repeat=Weighted(catalog.rows_of_hashes(bought), strength),
            together=Weighted(ties.rows, ties.weights / self._counts.weight(request.time)),
            popular=popular,
            search=self._matches(request.query),
        )
        pool = self._gatherer.unite(
            found, len(catalog.items), lambda rows: self.popularity(rows, request.time)
        )
        return Candidates(**vars(pool), ties=ties)

    def _matches(self, query: str | None) -> Weighted:
        if query is None:
            return NOTHING
        return Weighted(*self._catalog.search_index.find(query, self._catalog.allowed, MATCHES))

    def popularity(self, rows: NDArray[np.int64], time: int) -> NDArray[np.float32]:
        """Decayed events of each row as of ``time``, float32 of the same shape; 0 for row -1."""
        weights = self.popular_now.weights(rows)
        return (weights / self._counts.weight(time)).astype(np.float32)
