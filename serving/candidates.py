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

from model.features import Interactions, Purchases, repeat_strength
from serving.catalog import Catalog
from serving.counts import Counts, Neighbours
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
    seeds: list[tuple[int, Neighbours]]
    """The user's newest items and their neighbours: what "together" can be put down to."""


class CandidateSources:
    """Gathers candidates from the catalogue, the shared counts and the user's own profile."""

    def __init__(self, catalog: Catalog, counts: Counts, *, repeat_half_life_days: float) -> None:
        self._catalog = catalog
        self._counts = counts
        self._repeat_half_life_days = repeat_half_life_days
        self._neighbours: OrderedDict[int, tuple[float, Neighbours]] = OrderedDict()
        self._popular = Neighbours(np.empty(0, np.uint64), np.empty(0, np.float64))
        self._popular_rows = np.empty(0, np.int64)
        self._popular_of_row = np.zeros(0, np.float64)

    async def refresh_popular(self) -> None:
        """Read the popular items anew; call every few seconds."""
        self._popular = await self._counts.popular()
        rows = self._catalog.rows_of_hashes(self._popular.items)
        known = rows >= 0
        self._popular_rows = rows[known]
        of_row = np.zeros(len(self._catalog.items))
        of_row[rows[known]] = self._popular.weights[known]
        self._popular_of_row = of_row

    async def gather(self, requests: list[ListRequest]) -> list[Candidates]:
        """The candidates of each request; at most one trip to Redis for all of them."""
        seeds = [_newest_distinct(request.history.items) for request in requests]
        await self._fetch_neighbours(seeds)
        return [
            self._gather_one(request, [(seed, self._neighbours[seed][1]) for seed in own])
            for request, own in zip(requests, seeds, strict=True)
        ]

    async def _fetch_neighbours(self, seeds: list[list[int]]) -> None:
        wanted = dict.fromkeys(seed for own in seeds for seed in own)
        now = monotonic()
        stale = [
            seed
            for seed in wanted
            if (held := self._neighbours.get(seed)) is None or now - held[0] > NEIGHBOURS_FRESH_S
        ]
        for seed, fetched in zip(stale, await self._counts.neighbours(stale), strict=True):
            self._neighbours[seed] = now, fetched
        for seed in wanted:
            self._neighbours.move_to_end(seed)
        while len(self._neighbours) > max(CACHED_ITEMS, len(wanted)):
            self._neighbours.popitem(last=False)

    def _gather_one(self, request: ListRequest, seeds: list[tuple[int, Neighbours]]) -> Candidates:
        catalog = self._catalog
        bought, repeat = repeat_strength(
            request.purchases, request.time // DAY_MS, self._repeat_half_life_days
        )
        scale = self._counts.weight(request.time)
        near = [neighbours for _, neighbours in seeds if len(neighbours.items)]
        near_items = np.concatenate([n.items for n in near]) if near else np.empty(0, np.uint64)
        near_weights = np.concatenate([n.weights for n in near]) / scale if near else np.empty(0)
        popular = self._popular_rows
        popular = popular[catalog.allowed[popular]][:MAX_POPULAR]
        matched, match = (
            catalog.search_index.find(request.query, catalog.allowed, MAX_MATCHES)
            if request.query is not None
            else (np.empty(0, np.int64), np.empty(0, np.float32))
        )
        parts: list[tuple[Source, NDArray[np.int64]]] = [
            ("search", matched),
            ("repeat", catalog.rows_of_hashes(bought)),
            ("together", catalog.rows_of_hashes(near_items)),
            ("popular", popular),
        ]
        everything = np.concatenate([rows for _, rows in parts])
        rows, slots = np.unique(everything, return_inverse=True)
        sources = np.zeros(len(rows), dtype=np.uint8)
        signals = np.zeros((4, len(rows)))
        start = 0
        for (source, part), signal, values in zip(
            parts, signals, (match, repeat, near_weights, None), strict=True
        ):
            where = slots[start : start + len(part)]
            start += len(part)
            np.bitwise_or.at(sources, where, np.uint8(SOURCE_BIT[source]))
            if values is not None:
                np.add.at(signal, where, values)
        signals[3] = self._popularity(rows) / scale
        keep = rows >= 0
        keep[keep] = catalog.allowed[rows[keep]]
        match_kept, repeat_kept, near_kept, popular_kept = signals[:, keep].astype(np.float32)
        return Candidates(
            rows[keep], sources[keep], repeat_kept, near_kept, popular_kept, match_kept, seeds
        )

    def popularity(self, rows: NDArray[np.int64], time: int) -> NDArray[np.float32]:
        """Decayed events of each row as of ``time``, float32 of the same shape."""
        return (self._popularity(rows) / self._counts.weight(time)).astype(np.float32)

    def _popularity(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        known = (rows >= 0) & (rows < len(self._popular_of_row))
        found = np.zeros(rows.shape)
        found[known] = self._popular_of_row[rows[known]]
        return found


def _newest_distinct(items: NDArray[np.uint64]) -> list[int]:
    """Up to ``SEEDS`` distinct items of a history that is oldest first, newest first."""
    return list(dict.fromkeys(items[: -4 * SEEDS - 1 : -1].tolist()))[:SEEDS]
