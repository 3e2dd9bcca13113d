"""What is popular now: overall, in the categories that a list is about, in the event's country."""

import numpy as np
from numpy.typing import NDArray

from model.interests import in_turn
from model.pool_table import Entries
from model.proposals import NO_ENTRIES, for_each_list, joined
from model.signals import Origin
from serving.counts import Counts
from serving.interests import interests_of
from serving.neighbour_cache import NeighbourCache
from serving.place_popularity import places_of, sets_of_places
from serving.popularity import Popularity
from serving.source import Asked


class PopularNow:
    """The same items for every list."""

    name, origin = "popular", Origin.POPULAR

    def __init__(self, most: int, popular: Popularity) -> None:
        self._most = most
        self._popular = popular

    def entries(self, asked: Asked, sets: NeighbourCache) -> Entries:
        """The popular items, once for each list."""
        rows = self._popular.rows
        rows = rows[asked.catalog.usable(rows)][: self._most]
        return for_each_list(np.arange(len(asked.requests)), rows)


class PopularInCategory:
    """Popular in the categories of the user's newest items, and of what matches the query best."""

    name, origin = "in_category", Origin.POPULAR

    def __init__(self, most: int, popular: Popularity) -> None:
        self._most = most
        self._popular = popular

    def entries(self, asked: Asked, sets: NeighbourCache) -> Entries:
        """Of each category the most popular, in equal shares."""
        categories, usable = asked.catalog.categories, asked.catalog.usable

        def rows_of(group: int) -> NDArray[np.int64]:
            rows = self._popular.in_category(categories.codes.values[group] or ())
            return rows[usable(rows)]

        return in_turn(interests_of(asked, categories), rows_of, self._most)


class PopularInCountry:
    """Popular in the country in which the event happened."""

    name, origin = "in_country", Origin.POPULAR

    def __init__(self, most: int, counts: Counts) -> None:
        self._most = most
        self._counts = counts

    def reads(self, asked: Asked) -> NDArray[np.uint64]:
        """The counts of each country, which lie in all shards."""
        return sets_of_places(asked, self._counts)

    def entries(self, asked: Asked, sets: NeighbourCache) -> Entries:
        """The same items for all lists of a country; leaves behind what is popular there."""
        found = [NO_ENTRIES]
        asked.places = places_of(asked, self._counts, sets)
        for place in asked.places:
            rows = place.rows[asked.catalog.usable(place.rows)][: self._most]
            found.append(for_each_list(place.lists, rows))
        return joined(found)
