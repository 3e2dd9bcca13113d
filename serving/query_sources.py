"""Sources that start from the query: what matches it, and what others chose after it."""

import numpy as np
from numpy.typing import NDArray

from model.pool_table import Entries, entries_of_lists, only_usable
from model.proposals import NO_ENTRIES, first_of_lists
from model.signals import Origin, Weighted
from serving.neighbour_cache import NeighbourCache
from serving.source import Asked


class Matches:
    """Items whose text matches the query."""

    name, origin = "search", Origin.SEARCH

    def __init__(self, most: int) -> None:
        self._most = most

    async def prepare(self, asked: Asked) -> None:
        """Look for the items of each query."""
        found: list[Weighted | None] = [None] * len(asked.requests)
        queries = {
            at: each.query for at, each in enumerate(asked.requests) if each.query is not None
        }
        if queries:
            catalog = asked.catalog
            matches = await catalog.search_index.find_lists(
                list(queries.values()), catalog.allowed, self._most
            )
            for at, each in zip(queries, matches, strict=True):
                found[at] = Weighted(each.rows, each.match)
        asked.matches = entries_of_lists(found)

    def entries(self, asked: Asked, sets: NeighbourCache) -> Entries:
        """How much of the query each item covers."""
        return asked.matches


class Chosen:
    """What others chose within half an hour after the same search."""

    name, origin = "chosen", Origin.CHOSEN

    def __init__(self, most: int) -> None:
        self._most = most

    def reads(self, asked: Asked) -> NDArray[np.uint64]:
        """The choices after each query."""
        return asked.queries[1]

    def entries(self, asked: Asked, sets: NeighbourCache) -> Entries:
        """Choices of each item, decayed to the time of the list."""
        lists, queries = asked.queries
        if not len(lists):
            return NO_ENTRIES
        held = sets.take(queries)
        owner = np.repeat(lists, held.sizes)
        values = held.weights / asked.units[owner]
        found = only_usable(Entries(owner, held.rows, values), asked.catalog.usable)
        return first_of_lists(found, self._most)
