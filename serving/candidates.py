"""Candidates of a list: items from several named sources, each item with all of its sources.

``search`` matches the query; ``repeat`` is what the user keeps buying; ``together`` is seen
together with the user's newest items; ``popular`` is popular now; ``nearest`` comes out of the
network itself and joins in ``serving.rerank``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from model.features import NO_SEARCHES, Interactions, Purchases, Searches
from model.pool_table import Entries, PoolTable, entries_of_lists, unite_lists
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
from serving.neighbour_cache import NeighbourCache
from serving.popularity import Popularity
from serving.recommendation import AsOf, Source

SOURCES: tuple[Source, ...] = get_args(Source)
SOURCE_BIT: dict[Source, int] = {source: Origin[source.upper()].value for source in SOURCES}

NEIGHBOURS_FRESH_S = 5.0
"""How long neighbours may lag behind the stream: a few seconds, for one read per item and worker
instead of one per event."""
CACHED_ITEMS = 50_000
"""Times 64 neighbours of 24 bytes: 77 MB; of a smaller catalogue less."""


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
    searches: Callable[[], Searches] = lambda: NO_SEARCHES
    """Called where the network reads queries: unpacking them costs a fifth of a list."""


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


@dataclass(frozen=True)
class CandidateTable(PoolTable):
    """Candidates of the lists of a micro-batch, as catalogue rows."""

    ties: Ties
    """Of all lists, list after list."""
    tie_starts: NDArray[np.int64]
    """int64 [L + 1]: where each list's ties begin, and where the last ones end."""

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
        here = slice(self.tie_starts[number], self.tie_starts[number + 1])
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

    async def gather(self, requests: list[ListRequest]) -> CandidateTable:
        """The candidates of each request; at most one trip to Redis for all of them."""
        seeds = [seeds_of(request.history) for request in requests]
        ties, starts = await self._ties(seeds)
        units = self.units(requests)
        owner = np.repeat(np.arange(len(requests)), np.diff(starts))
        found = {
            Origin.SEARCH: entries_of_lists([self._matches(request.query) for request in requests]),
            Origin.REPEAT: entries_of_lists([self._bought(request) for request in requests]),
            Origin.TOGETHER: Entries(owner, ties.rows, ties.weights / units[owner]),
            Origin.POPULAR: self._popular(len(requests)),
        }
        table = unite_lists(
            found,
            len(requests),
            self._catalog.usable,
            lambda rows, owner: self.popularity(rows, units[owner]),
        )
        return CandidateTable(**vars(table), ties=ties, tie_starts=starts)

    async def _ties(self, seeds: list[list[int]]) -> tuple[Ties, NDArray[np.int64]]:
        """The ties of all lists, and where those of each begin and the last ones end."""
        flat = [seed for own in seeds for seed in own]
        wanted, now = list(dict.fromkeys(flat)), monotonic()
        # Once more if, while this one waited, another task has taken the room.
        while stale := self._neighbours.stale(wanted, now, NEIGHBOURS_FRESH_S):
            self._neighbours.put(stale, await self._counts.neighbours(stale, NEIGHBOURS), now)
        held = self._neighbours.take(flat)
        starts = np.cumsum([0, *(len(own) for own in seeds)])
        return (
            Ties(np.repeat(np.array(flat, np.uint64), held.sizes), held.rows, held.weights),
            np.append(0, np.cumsum(held.sizes))[starts],
        )

    def _matches(self, query: str | None) -> Weighted | None:
        if query is None:
            return None
        return Weighted(*self._catalog.search_index.find(query, self._catalog.allowed, MATCHES))

    def _bought(self, request: ListRequest) -> Weighted | None:
        if not len(request.purchases.items):
            return None
        bought, strength = own_repeat(request.purchases, request.time, self._repeat_half_life_days)
        return Weighted(self._catalog.rows_of_hashes(bought), strength)

    def _popular(self, lists: int) -> Entries:
        """The popular items, once for each list."""
        rows = self.popular_now.rows
        rows = rows[self._catalog.usable(rows)][:POPULAR]
        owner = np.repeat(np.arange(lists), len(rows))
        return Entries(owner, np.tile(rows, lists), np.ones(len(owner)))

    def units(self, requests: list[ListRequest]) -> NDArray[np.float64]:
        """Forward-decayed weight of an event at the time of each list, float64 [L]."""
        return self._counts.weights(np.array([request.time for request in requests], np.int64))

    def popularity(
        self, rows: NDArray[np.int64], units: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Decayed events of each row, float32 of the same shape; 0 for row -1.

        Args:
            rows: of the catalogue.
            units: weight of an event of the present of each (``units``), of a shape that fits.
        """
        return (self.popular_now.weights(rows) / units).astype(np.float32)
