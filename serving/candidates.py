"""Candidates of a list: items from several named sources, each item with all of its sources.

``search`` matches the query; ``repeat`` is what the user keeps buying; ``together`` is seen
together with the user's newest items; ``popular`` is popular now; ``nearest`` comes out of the
network itself and joins in ``serving.rerank``.
"""

from collections import OrderedDict
from dataclasses import dataclass
from time import monotonic
from typing import TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from model.features import Interactions, Purchases, repeat_strength
from serving.catalog import Catalog
from serving.counts import Counts, Neighbours
from serving.popularity import Popularity
from serving.recommendation import AsOf, Source

SOURCES: tuple[Source, ...] = get_args(Source)
SOURCE_BIT: dict[Source, int] = {source: 1 << at for at, source in enumerate(SOURCES)}

SEEDS = 10
"""Newest distinct items whose neighbours are taken; older ones say little about now."""
MAX_POPULAR = 100
MAX_MATCHES = 100
NEIGHBOURS_FRESH_S = 5.0
"""How long neighbours may lag behind the stream: a few seconds, for one read per item and worker
instead of one per event."""
CACHED_ITEMS = 50_000
"""Times 50 neighbours of 16 bytes: 40 MB."""
DAY_MS = 86_400_000

_Found: TypeAlias = "tuple[NDArray[np.int64], NDArray[np.floating]]"
_NO_ROWS = np.empty(0, np.int64)
_NO_VALUES = np.empty(0, np.float64)


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
class Candidates:
    """Candidates of one list: catalogue rows int64 [N], distinct, and float32 [N] signals."""

    rows: NDArray[np.int64]
    sources: NDArray[np.uint8]
    """Bits of ``SOURCE_BIT``."""
    repeat: NDArray[np.float32]
    together: NDArray[np.float32]
    popular: NDArray[np.float32]
    match: NDArray[np.float32]
    """Share of the query that the item covers; 0 without a query."""
    ties: "Ties"
    """What "together" can be put down to."""


@dataclass(frozen=True)
class Ties:
    """Which of the user's newest items are seen together with what; three arrays [M]."""

    seeds: NDArray[np.uint64]
    """Hash of the user's item."""
    rows: NDArray[np.int64]
    """Catalogue row of the other item, -1 where it has none."""
    weights: NDArray[np.float64]


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
        self._slots = np.empty(0, np.int64)

    async def refresh_popular(self) -> None:
        """Read the popular items anew; call every few seconds."""
        self.popular_now.refresh(await self._counts.popular())

    async def gather(self, requests: list[ListRequest]) -> list[Candidates]:
        """The candidates of each request; at most one trip to Redis for all of them."""
        seeds = [_newest_distinct(request.history.items) for request in requests]
        await self._fetch_neighbours(seeds)
        rows = self.popular_now.rows
        popular = rows[self._catalog.usable(rows)][:MAX_POPULAR]
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
        for seed, fetched in zip(stale, await self._counts.neighbours(stale), strict=True):
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
            rows=np.concatenate([_NO_ROWS, *(each.rows for each in cached)]),
            weights=np.concatenate([_NO_VALUES, *(each.neighbours.weights for each in cached)]),
        )

    def _gather_one(
        self, request: ListRequest, ties: Ties, popular: NDArray[np.int64]
    ) -> Candidates:
        catalog, scale = self._catalog, self._counts.weight(request.time)
        bought, strength = repeat_strength(
            request.purchases, request.time // DAY_MS, self._repeat_half_life_days
        )
        found: dict[Source, _Found] = {
            "search": self._matches(request.query),
            "repeat": (catalog.rows_of_hashes(bought), strength),
            "together": (ties.rows, ties.weights / scale),
            "popular": (popular, np.ones(len(popular))),
        }
        rows, sources, signals = self._unite(found)
        return Candidates(
            rows=rows,
            sources=sources,
            repeat=signals["repeat"],
            together=signals["together"],
            popular=self.popularity(rows, request.time),
            match=signals["search"],
            ties=ties,
        )

    def _matches(self, query: str | None) -> _Found:
        if query is None:
            return _NO_ROWS, _NO_VALUES
        return self._catalog.search_index.find(query, self._catalog.allowed, MAX_MATCHES)

    def _unite(
        self, found: dict[Source, _Found]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8], dict[Source, NDArray[np.float32]]]:
        """Distinct usable rows, their sources, and by source the sum of each row's values."""
        kept: dict[Source, _Found] = {}
        for source, (part, values) in found.items():
            usable = self._catalog.usable(part)
            kept[source] = part[usable], values[usable]
        rows, slots = self._distinct(np.concatenate([part for part, _ in kept.values()]))
        sources = np.zeros(len(rows), dtype=np.uint8)
        signals: dict[Source, NDArray[np.float32]] = {}
        end = 0
        for source, (part, values) in kept.items():
            start, end = end, end + len(part)
            where = slots[start:end]
            sources[where] |= SOURCE_BIT[source]
            signals[source] = np.bincount(where, values, len(rows)).astype(np.float32)
        return rows, sources, signals

    def _distinct(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The distinct rows in rising order, and the place of each given row among them.

        What ``np.unique`` does, at a fifth of its price: a row is a small number, so that a table
        over the catalogue replaces sorting. Of the table only what was just written is read.
        """
        if len(self._slots) < len(self._catalog.items):
            self._slots = np.empty(2 * len(self._catalog.items), np.int64)
        order = np.arange(len(rows))
        self._slots[rows] = order
        distinct = np.sort(rows[self._slots[rows] == order])
        self._slots[distinct] = order[: len(distinct)]
        return distinct, self._slots[rows]

    def popularity(self, rows: NDArray[np.int64], time: int) -> NDArray[np.float32]:
        """Decayed events of each row as of ``time``, float32 of the same shape; 0 for row -1."""
        weights = self.popular_now.weights(rows)
        return (weights / self._counts.weight(time)).astype(np.float32)


def _newest_distinct(items: NDArray[np.uint64]) -> list[int]:
    """Up to ``SEEDS`` distinct items of a history that is oldest first, newest first."""
    return list(dict.fromkeys(items[: -4 * SEEDS - 1 : -1].tolist()))[:SEEDS]
