"""New items, which few can have chosen yet: what the user may like of them, and a bandit's."""

from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from model.affinity import GroupTree, affinities, taken
from model.fresh_score import (
    LOOKED_AT,
    FreshSignals,
    FreshWeights,
    fresh_scores,
    is_hardly_known,
    little_known,
)
from model.pool_table import Entries
from model.proposals import NO_ENTRIES, best_rows, first_of_lists
from model.signals import Origin
from serving.catalog import Catalog
from serving.exploration import Exploration
from serving.interests import MATCHES_LOOKED_AT
from serving.list_request import ListRequest
from serving.neighbour_cache import NeighbourCache
from serving.popularity import Popularity
from serving.source import Asked


class Fresh:
    """The little known items that a list is most likely about, by what its user takes.

    Where there is a query, its best matches stand for what the user has taken. Of equal scores the
    newest item comes first. The item tower has no say: what it scores with comes out of the
    network's run, which is still to come.

    Args:
        most: for a list.
        popular: as of the last reading of the counts.
        catalog: whose items are put into groups, unless ``most`` is 0.
        weights: of the bundle.
    """

    name, origin = "fresh", Origin.NEW

    def __init__(
        self, most: int, popular: Popularity, catalog: Catalog, weights: FreshWeights
    ) -> None:
        self._most = most
        self._popular = popular
        self._weights = weights
        self._tree = GroupTree()
        self._shares = (popular.rows, 0, np.empty(0))
        if most:
            catalog.watch(lambda row, item: self._tree.put(row, item.category, item.brand))

    def entries(self, asked: Asked, sets: NeighbourCache) -> Entries:
        """The best of the newest little known items, best first."""
        items = self._little_known(asked)
        if not len(items) or not len(asked.requests):
            return NO_ENTRIES
        scores = fresh_scores(self._weights, self.signals(asked, items))
        return best_rows(scores, items, self._most)

    def signals(self, asked: Asked, items: NDArray[np.int64]) -> FreshSignals:
        """What is known of C items, rows int64 [C], for each list."""
        owner, rows = _taken_rows(asked)
        found = affinities(
            self._tree, self._everybodys_shares(), owner, rows,
            lists=len(asked.requests), items=items, smoothing=self._weights.smoothing,
        )  # fmt: skip
        popular = self._popular.weights(items) / asked.units[:, None]
        return FreshSignals(popular.astype(np.float32), found)

    def _little_known(self, asked: Asked) -> NDArray[np.int64]:
        count = len(asked.catalog.items)
        rows = np.arange(max(count - LOOKED_AT, 0), count)
        weights, unit = self._popular.weights(rows), asked.units.max(initial=0.0)
        return little_known(rows, asked.catalog.usable(rows) & is_hardly_known(weights, unit))

    def _everybodys_shares(self) -> NDArray[np.float64]:
        """Computed anew when the counts were read, or when there is a new category or brand."""
        rows, groups, shares = self._shares
        popular = self._popular.rows
        if rows is not popular or groups != len(self._tree):
            shares = self._tree.shares(popular, self._popular.weights(popular))
            self._shares = (popular, len(self._tree), shares)
        return shares


def _taken_rows(asked: Asked) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Whose event each was, and of which row; of lists with matches the best of those."""
    matches = first_of_lists(asked.matches, MATCHES_LOOKED_AT)
    events = taken(asked.requests.histories, asked.requests.purchases)
    has_match = np.zeros(len(asked.requests), np.bool_)
    has_match[matches.owner] = True
    own = ~has_match[events.owner]
    rows = asked.catalog.rows_of_hashes(events.items[own])
    return np.concatenate([matches.owner, events.owner[own]]), np.concatenate([matches.rows, rows])


class Explored:
    """What a bandit picks, for lists without a query."""

    name, origin = "new", Origin.NEW

    def __init__(self, most: int, exploration: Exploration) -> None:
        self._most = most
        self._exploration = exploration

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
