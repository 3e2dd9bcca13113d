"""Candidates of a list: items from several named sources, each item with all of its sources.

``search`` matches the query; ``chosen`` was chosen by others after the same search; ``repeat`` is
what the user keeps buying; ``together`` is seen together with the user's newest items; ``popular``
is popular now, overall, in a category or in a country; ``new`` is hardly known yet; ``nearest``
comes out of the network itself and joins in ``serving.rerank``. How much of each: ``model.quotas``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from time import monotonic, time_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.fresh_score import FreshWeights
from model.pool_table import Entries, PoolTable, unite_lists
from model.proposals import joined
from model.quotas import SourceQuotas
from model.signals import NEIGHBOURS, Origin, Pool
from serving import metrics
from serving.catalog import Catalog
from serving.counts import Counts
from serving.exploration import NO_LOOKS, NO_RATE, Exploration
from serving.list_request import RequestTable
from serving.looks import read_looks
from serving.neighbour_cache import NeighbourCache
from serving.new_sources import Explored, Fresh
from serving.place_popularity import in_places
from serving.popular_sources import PopularInCategory, PopularInCountry, PopularNow
from serving.popularity import Popularity
from serving.query_sources import Chosen, Matches
from serving.source import Asked, CandidateSource, Place, ReadingSource, WaitingSource
from serving.source import Ties as Ties
from serving.user_sources import Repeat, Together

NEIGHBOURS_FRESH_S = 5.0
"""How long neighbours may lag behind the stream: a few seconds, for one read per item and worker
instead of one per event."""
CACHED_ITEMS = 50_000
"""Times 64 neighbours of 24 bytes: 77 MB; of a smaller catalogue less."""
NO_PLACES = np.empty(0, np.int64)


def wall_clock_ms() -> int:
    """The present, epoch milliseconds."""
    return time_ns() // 1_000_000


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
    explored: NDArray[np.int64] = field(default_factory=lambda: NO_PLACES)
    """int64: places, among the candidates, of those that are to stand in their list."""
    in_countries: tuple[Place, ...] = ()
    """What is popular in the countries of the lists."""

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
    """Asks every source that has a quota, and unites what they propose.

    Args:
        catalog: what may be recommended.
        counts: shared by all workers.
        repeat_half_life_days: after which a purchase speaks half as much for another one.
        quotas: of the bundle.
        fresh: how new items are ordered, of the bundle.
        bundle: the version whose responses are to be read; None where feedback is not joined.
        now_ms: the present, epoch milliseconds.
    """

    def __init__(
        self,
        catalog: Catalog,
        counts: Counts,
        *,
        repeat_half_life_days: float,
        quotas: SourceQuotas | None = None,
        fresh: FreshWeights | None = None,
        bundle: str | None = None,
        now_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self._catalog = catalog
        self._counts = counts
        self._bundle = bundle
        self._now_ms = now_ms
        self._settings: dict[str, Any] = {
            "repeat_half_life_days": repeat_half_life_days,
            "quotas": quotas,
            "fresh": fresh,
            "bundle": bundle,
            "now_ms": now_ms,
        }
        self._sets = NeighbourCache(catalog, CACHED_ITEMS)
        self.quotas = quotas = quotas or SourceQuotas()
        self.popular_now = popular = Popularity(catalog)
        self.exploration = Exploration(catalog, quotas.new)
        every: tuple[CandidateSource, ...] = (
            Matches(quotas.search),
            Chosen(quotas.chosen),
            Repeat(quotas.repeat, repeat_half_life_days),
            Together(quotas.together),
            PopularNow(quotas.popular, popular),
            PopularInCategory(quotas.in_category, popular),
            PopularInCountry(quotas.in_country, counts),
            Fresh(quotas.fresh, popular, catalog, fresh or FreshWeights()),
            Explored(quotas.new, self.exploration),
        )
        self._sources = [each for each in every if getattr(quotas, each.name)]
        self._waiting = [each for each in self._sources if isinstance(each, WaitingSource)]
        self._reading = [each for each in self._sources if isinstance(each, ReadingSource)]

    def within(self, counts: Counts) -> "CandidateSources":
        """The same sources on other counts, of which nothing is read yet."""
        return CandidateSources(self._catalog, counts, **self._settings)

    async def refresh_popular(self) -> None:
        """Read the popular items anew; call every few seconds."""
        self.popular_now.refresh(await self._counts.popular())
        unit, looks, rate = self._counts.weight(self._now_ms()), NO_LOOKS, NO_RATE
        if self._bundle is not None:
            looks, rate = await read_looks(
                self._counts, self._catalog, self._bundle, unit, of_items=self.quotas.new > 0
            )
        if self.quotas.new:
            every = np.arange(len(self._catalog.items))
            self.exploration.refresh(looks, self.popular_now.weights(every) / unit, rate)

    async def gather(self, requests: RequestTable) -> CandidateTable:
        """The candidates of each request; at most one trip to Redis for all of them."""
        asked = Asked(requests, self._catalog, self._counts.weights(requests.times))
        for waiting in self._waiting:
            await waiting.prepare(asked)
        await self._read(asked)
        found = {source.name: source.entries(asked, self._sets) for source in self._sources}
        units, in_countries = asked.units, tuple(asked.places)
        table, places = unite_lists(
            self._by_origin(found),
            len(requests),
            lambda rows, owner: self._popularity(rows, owner, units, in_countries),
        )
        explored = NO_PLACES
        if (picks := found.get("new")) is not None:
            # Behind those of the source before, which has the same origin.
            explored = places[Origin.NEW][len(places[Origin.NEW]) - len(picks.rows) :]
        return CandidateTable(
            **vars(table),
            ties=asked.ties,
            tie_places=places.get(Origin.TOGETHER, NO_PLACES),
            units=units,
            explored=explored,
            in_countries=in_countries,
        )

    async def _read(self, asked: Asked) -> None:
        """Have all sets of the shared counts at hand that the sources will take; in one trip."""
        wanted = [sets for source in self._reading if len(sets := source.reads(asked))]
        if not wanted:
            return
        every = wanted[0] if len(wanted) == 1 else np.concatenate(wanted)
        now, fetched = monotonic(), 0
        # Once more if, while this one waited, another task has taken the room.
        while len(stale := self._sets.stale(every, now, NEIGHBOURS_FRESH_S)):
            found = await self._counts.neighbours(stale.tolist(), NEIGHBOURS)
            self._sets.put(stale, found, now)
            fetched += len(stale)
        metrics.COUNT_READS.labels("fetched").inc(fetched)
        metrics.COUNT_READS.labels("held").inc(max(0, len(every) - fetched))

    def _by_origin(self, found: dict[str, Entries]) -> dict[Origin, Entries]:
        """What was found; of sources that share a mark, one behind the other."""
        parts: dict[Origin, list[Entries]] = {}
        for source in self._sources:
            parts.setdefault(source.origin, []).append(found[source.name])
        return {
            origin: some[0] if len(some) == 1 else joined(some) for origin, some in parts.items()
        }

    def popularity(
        self, rows: NDArray[np.int64], units: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Decayed events of each row, float32 of the same shape; 0 for row -1.

        Args:
            rows: of the catalogue.
            units: weight of an event of the present of each, of a shape that fits.
        """
        return (self.popular_now.weights(rows) / units).astype(np.float32)

    def nearest_popularity(
        self, table: CandidateTable, nearest: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Popularity of the nearest items of each list, int64 [L, K], as that of its candidates."""
        if not table.in_countries:
            return self.popularity(nearest, table.units[:, None])
        owner = np.broadcast_to(np.arange(len(nearest))[:, None], nearest.shape)
        return self._popularity(nearest, owner, table.units, table.in_countries)

    def _popularity(
        self,
        rows: NDArray[np.int64],
        owner: NDArray[np.int64],
        units: NDArray[np.float64],
        in_countries: tuple[Place, ...],
    ) -> NDArray[np.float32]:
        if not in_countries:
            return self.popularity(rows, units[owner])
        overall, total = self.popular_now.weights(rows) / units[owner], self.popular_now.total
        return in_places(overall, total, rows, owner, in_countries, units).astype(np.float32)
