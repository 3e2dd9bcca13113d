"""Candidates of a list: items from several named sources, each item with all of its sources.

``search`` matches the query; ``repeat`` is what the user keeps buying; ``together`` is seen
together with the user's newest items; ``popular`` is popular now; ``nearest`` comes out of the
network itself and joins in ``serving.rerank``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from time import monotonic
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from model.pool_table import Entries, PoolTable, entries_of_lists, only_usable, unite_lists
from model.signals import (
    MATCHES,
    NEIGHBOURS,
    POPULAR,
    Origin,
    Pool,
    Weighted,
    own_repeat,
    seeds_of,
    strongest,
)
from serving.catalog import Catalog
from serving.counts import Counts, Neighbours
from serving.list_request import RequestTable
from serving.neighbour_cache import NeighbourCache
from serving.popularity import Popularity
from serving.recommendation import Source

SOURCES: tuple[Source, ...] = get_args(Source)
SOURCE_BIT: dict[Source, int] = {source: Origin[source.upper()].value for source in SOURCES}

NEIGHBOURS_FRESH_S = 5.0
"""How long neighbours may lag behind the stream: a few seconds, for one read per item and worker
instead of one per event."""
CACHED_ITEMS = 50_000
"""Times 64 neighbours of 24 bytes: 77 MB; of a smaller catalogue less."""


@dataclass(frozen=True)
class Ties:
    """Which of the user's newest items are seen together with what; three arrays [M]."""

    seeds: NDArray[np.uint64]
    """Hash of the user's item."""
    rows: NDArray[np.int64]
    """Catalogue row of the other item."""
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class Candidates(Pool):
    """Candidates of one list, as catalogue rows."""

    ties: Ties
    """What "together" can be put down to."""


@dataclass(frozen=True)
class CandidateTable(PoolTable):
    """Candidates of the lists of a micro-batch, as catalogue rows."""

    ties: Ties
    """Of all lists, list after list."""
    tie_places: NDArray[np.int64]
    """int64 [T]: the place of each tie's item among the candidates."""
    units: NDArray[np.float64]
    """float64 [L]: forward-decayed weight of an event at the time of each list."""

    @cached_property
    def cells(self) -> NDArray[np.bool_]:
        """bool [L, C], with a row for each list and room for the longest: which hold candidates."""
        sizes = np.diff(self.starts)
        return np.arange(max(int(sizes.max(initial=0)), 1)) < sizes[:, None]

    def __len__(self) -> int:
        """How many lists."""
        return len(self.starts) - 1

    def __getitem__(self, number: int) -> Candidates:
        """The candidates of one list. Raises IndexError where there is no such list."""
        if not 0 <= number < len(self):
            raise IndexError(f"list {number} of {len(self)}")
        return Candidates(**vars(self.pool_of(number)), ties=self.ties_of(number))

    def __iter__(self) -> Iterator[Candidates]:
        """The candidates of each list."""
        return map(self.__getitem__, range(len(self)))

    def ties_of(self, number: int) -> Ties:
        """What ties the candidates of one list to its user."""
        start, end = np.searchsorted(self.owner[self.tie_places], [number, number + 1])
        here = slice(start, end)
        return Ties(self.ties.seeds[here], self.ties.rows[here], self.ties.weights[here])


class CandidateSources:
    """Gathers candidates from the catalogue, the shared counts and the user's own profile."""

    def __init__(self, catalog: Catalog, counts: Counts, *, repeat_half_life_days: float) -> None:
        self._catalog = catalog
        self._counts = counts
        self._repeat_half_life_days = repeat_half_life_days
        self._neighbours = NeighbourCache(catalog, CACHED_ITEMS)
        self.popular_now = Popularity(catalog)

    async def refresh_popular(self) -> None:
        """Read the popular items anew; call every few seconds."""
        popular = await self._counts.popular()
        order = strongest(popular.weights, popular.items, len(popular.items))
        self.popular_now.refresh(Neighbours(popular.items[order], popular.weights[order]))

    async def gather(self, requests: RequestTable) -> CandidateTable:
        """The candidates of each request; at most one trip to Redis for all of them."""
        owner, ties = await self._ties(*seeds_of(requests.histories))
        units = self._counts.weights(requests.times)
        found = {
            Origin.SEARCH: await self._matches(requests),
            Origin.REPEAT: self._bought(requests),
            Origin.TOGETHER: Entries(owner, ties.rows, ties.weights / units[owner]),
            Origin.POPULAR: self._popular(len(requests)),
        }
        table, places = unite_lists(
            found, len(requests), lambda rows, owner: self.popularity(rows, units[owner])
        )
        return CandidateTable(
            **vars(table), ties=ties, tie_places=places[Origin.TOGETHER], units=units
        )

    async def _ties(
        self, seeds: NDArray[np.uint64], starts: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], Ties]:
        """The number of the list of each tie, and the ties of all lists, list after list."""
        now = monotonic()
        # Once more if, while this one waited, another task has taken the room.
        while len(stale := self._neighbours.stale(seeds, now, NEIGHBOURS_FRESH_S)):
            found = await self._counts.neighbours(stale.tolist(), NEIGHBOURS)
            self._neighbours.put(stale, found, now)
        held = self._neighbours.take(seeds)
        may = self._catalog.usable(held.rows)
        owner = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        return (
            np.repeat(owner, held.sizes)[may],
            Ties(np.repeat(seeds, held.sizes)[may], held.rows[may], held.weights[may]),
        )

    async def _matches(self, requests: RequestTable) -> Entries:
        asked = {at: each.query for at, each in enumerate(requests) if each.query is not None}
        found: list[Weighted | None] = [None] * len(requests)
        if asked:
            catalog = self._catalog
            queries = list(asked.values())
            matches = await catalog.search_index.find_lists(queries, catalog.allowed, MATCHES)
            for at, each in zip(asked, matches, strict=True):
                found[at] = Weighted(each.rows, each.match)
        return entries_of_lists(found)

    def _bought(self, requests: RequestTable) -> Entries:
        bought = requests.purchases
        strength = own_repeat(bought, requests.times, self._repeat_half_life_days)
        rows = self._catalog.rows_of_hashes(bought.items)
        return only_usable(Entries(bought.owner, rows, strength), self._catalog.usable)

    def _popular(self, lists: int) -> Entries:
        """The popular items, once for each list."""
        rows = self.popular_now.rows
        rows = rows[self._catalog.usable(rows)][:POPULAR]
        owner = np.repeat(np.arange(lists), len(rows))
        return Entries(owner, np.tile(rows, lists), np.ones(len(owner)))

    def popularity(
        self, rows: NDArray[np.int64], units: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Decayed events of each row, float32 of the same shape; 0 for row -1.

        Args:
            rows: of the catalogue.
            units: weight of an event of the present of each, of a shape that fits.
        """
        return (self.popular_now.weights(rows) / units).astype(np.float32)
