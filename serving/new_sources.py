"""New items, which nobody can have chosen yet: those of the user's categories, and a bandit's."""

from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from model.pool_table import Entries
from model.signals import Origin
from serving.exploration import Exploration
from serving.interests import in_turn, interests_of
from serving.item_groups import ItemGroups
from serving.list_request import ListRequest
from serving.neighbour_cache import NeighbourCache
from serving.popularity import Popularity
from serving.source import NO_ENTRIES, NO_SETS, Asked, joined

KNOWN_EVENTS = 20.0
"""Decayed: an item with more has neighbours and popularity to speak for it."""
LOOKED_AT = 8
"""Newest rows of a group, times the quota: among them are known ones and some sold out."""
BRAND_SHARE = 3
"""A third of the quota is for brands."""


class Fresh:
    """The newest little known items of the categories and brands that a list is about."""

    name, origin = "fresh", Origin.NEW

    def __init__(self, most: int, popular: Popularity) -> None:
        self._most = most
        self._popular = popular

    def reads(self, asked: Asked) -> NDArray[np.uint64]:
        """Nothing: the catalogue knows them."""
        return NO_SETS

    def entries(self, asked: Asked, sets: NeighbourCache) -> Entries:
        """Of each category and brand the newest, in equal shares."""
        of_brands = self._most // BRAND_SHARE
        quotas = (
            (asked.catalog.categories, self._most - of_brands),
            (asked.catalog.brands, of_brands),
        )
        found = [self._of_groups(asked, groups, most) for groups, most in quotas]
        return joined(found)

    def _of_groups(self, asked: Asked, groups: ItemGroups, most: int) -> Entries:  # type: ignore[type-arg]
        known = KNOWN_EVENTS * asked.units.max(initial=0.0)

        def rows_of(group: int) -> NDArray[np.int64]:
            rows = groups.newest(group, LOOKED_AT * most)
            is_known = self._popular.weights(rows) >= known
            fresh: NDArray[np.int64] = rows[asked.catalog.usable(rows) & ~is_known]
            return fresh

        return in_turn(interests_of(asked, groups), rows_of, most) if most else NO_ENTRIES


class Explored:
    """What a bandit picks, for lists without a query."""

    name, origin = "new", Origin.NEW

    def __init__(self, most: int, exploration: Exploration) -> None:
        self._most = most
        self._exploration = exploration

    def reads(self, asked: Asked) -> NDArray[np.uint64]:
        """Nothing: what was shown and clicked is read every few seconds."""
        return NO_SETS

    def entries(self, asked: Asked, sets: NeighbourCache) -> Entries:
        """The picks of each list; a list that is made again gets the same ones."""
        lists = [at for at, each in enumerate(asked.requests) if each.query is None]
        requests = [asked.requests[at] for at in lists]
        draws = np.array([draw_of(each) for each in requests], np.int64)
        row_of = asked.catalog.row_of
        current = np.array([row_of(each.current_item) for each in requests], np.int64)
        rows = self._exploration.picks(draws, self._most, current)
        owner = np.repeat(np.array(lists, np.int64), (rows >= 0).sum(axis=1))
        rows = rows[rows >= 0]
        return Entries(owner, rows, np.ones(len(rows)))


def draw_of(request: ListRequest) -> int:
    """The same number whenever this list is made."""
    as_of = request.as_of
    return crc32(f"{request.user_id}\0{as_of.topic}\0{as_of.partition}\0{as_of.offset}".encode())
