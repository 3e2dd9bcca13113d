"""What a source of candidates is, and what it is asked.

Sources work in columns, for all lists of a micro-batch at once. What they read of the shared counts
they name first, as numbers of sets: so that the reads of all sources are one trip to Redis.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from model.pool_table import Entries
from model.proposals import NO_ENTRIES
from model.signals import Origin, seeds_of
from model.traits import country_in, place_hash
from serving.catalog import Catalog
from serving.covisits import query_hash
from serving.list_request import RequestTable
from serving.neighbour_cache import NeighbourCache
from serving.profile import cut_query

NO_SETS = np.empty(0, np.uint64)


@dataclass(frozen=True)
class Ties:
    """Which of the user's newest items are seen together with what; three arrays [M]."""

    seeds: NDArray[np.uint64]
    """Hash of the user's item."""
    rows: NDArray[np.int64]
    """Catalogue row of the other item."""
    weights: NDArray[np.float64]


NO_TIES = Ties(NO_SETS, np.empty(0, np.int64), np.empty(0))


class Place(NamedTuple):
    """The popular items of a country, for the lists that are made for it."""

    lists: NDArray[np.int64]
    rows: NDArray[np.int64]
    """Of the catalogue, distinct, most popular first."""
    weights: NDArray[np.float64]
    """Forward-decayed."""


@dataclass
class Asked:
    """The lists of a micro-batch, and what several sources want to know of them."""

    requests: RequestTable
    catalog: Catalog
    units: NDArray[np.float64]
    """float64 [L]: forward-decayed weight of an event at the time of each list."""
    matches: Entries = NO_ENTRIES
    """What matches the queries, once they have been looked for."""
    ties: Ties = NO_TIES
    """What "together" can be put down to, once that source was asked."""
    places: list[Place] = field(default_factory=list)
    """What is popular in the countries of the lists, once that source was asked."""

    @cached_property
    def seeds(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """The newest items of the users: hashes [S] and where those of each list begin."""
        return seeds_of(self.requests.histories)

    @cached_property
    def queries(self) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Numbers of the lists that have a query, and the set of each one's choices."""
        asked = [(at, each.query) for at, each in enumerate(self.requests) if each.query]
        return (
            np.array([at for at, _ in asked], np.int64),
            np.array([query_hash(cut_query(query)) for _, query in asked], np.uint64),
        )

    @cached_property
    def countries(self) -> dict[int, NDArray[np.int64]]:
        """By the hash of a country the numbers of its lists: that of the event, or else the newest
        one that the profile knows."""
        lists: dict[int, list[int]] = {}
        for at, each in enumerate(self.requests):
            country: int | None = None
            if each.context is not None and each.context.country:
                country = place_hash(each.context.country)
            elif each.profile.traits:
                country = country_in(each.profile.traits)
            if country is not None:
                lists.setdefault(country, []).append(at)
        return {country: np.array(those, np.int64) for country, those in lists.items()}


class CandidateSource(Protocol):
    """One source of candidates."""

    @property
    def name(self) -> str:
        """As its quota is called."""

    @property
    def origin(self) -> Origin:
        """What its items are marked with; several sources may share one."""

    def entries(self, asked: Asked, sets: NeighbourCache) -> Entries:
        """What it has for each list: rows that may be recommended now, at most its quota."""


@runtime_checkable
class ReadingSource(Protocol):
    """A source that takes sets of the shared counts."""

    def reads(self, asked: Asked) -> NDArray[np.uint64]:
        """Numbers of the sets that ``entries`` will take, with repetitions."""


@runtime_checkable
class WaitingSource(Protocol):
    """A source that has to wait for something else than the shared counts."""

    async def prepare(self, asked: Asked) -> None:
        """Wait for it, before the counts are read: between that and ``entries`` nobody waits, or
        what was read might be gone."""
