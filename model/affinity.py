"""How much more than others a user takes of the categories and brands of an item.

The only implementation, for evaluation and serving; a caller brings rows of a table of its own.

A user's share of a category is his events in it, of those in the category above, smoothed towards
what everybody's share is by ``smoothing`` imagined events: the Dirichlet prior of Zhai and Lafferty
(2001), one level of the path after the other as in MacKay and Peto (1995). The logarithm of that
share over everybody's is how much the level speaks for the user, and the levels of a path add up.
Who has done nothing takes what everybody takes: zero. Brands are one level of their own, and an
item without a category or brand stands in one for those that have none.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.dataset import PURCHASE
from model.features import Histories, PurchaseTable

DEPTHS = 4
"""Levels of a category path; what is more special than that counts as the fourth."""
EVEN_PART = 0.05
"""Of everybody's shares so much goes to all groups alike, so that none is nothing."""
ROOT = 0
_FIRST_CAPACITY = 1024


class GroupTree:
    """The categories and brands of a table of items: numbers of groups, of which 0 holds all."""

    def __init__(self) -> None:
        self._number_of: dict[tuple[str, ...], int] = {}
        self._parents = [ROOT]
        self._parent_column = np.zeros(1, np.int32)
        self._groups = np.zeros((_FIRST_CAPACITY, DEPTHS + 1), np.int32)

    def __len__(self) -> int:
        """How many groups, the one of all among them."""
        return len(self._parents)

    @property
    def parents(self) -> NDArray[np.int32]:
        """int32 [G]: the group above each, which has a lower number."""
        if len(self._parent_column) < len(self._parents):
            self._parent_column = np.array(self._parents, np.int32)
        return self._parent_column

    def put(self, row: int, category: Sequence[str], brand: str | None) -> None:
        """Say what the item of a row is; a row may be put again."""
        if row >= len(self._groups):
            more = np.zeros((max(len(self._groups), row + 1), DEPTHS + 1), np.int32)
            self._groups = np.concatenate([self._groups, more])
        path = tuple(category[:DEPTHS]) or ("",)
        line, above = [ROOT] * (DEPTHS + 1), ROOT
        for depth in range(len(path)):
            above = line[depth] = self._number(("category", *path[: depth + 1]), above)
        line[DEPTHS] = self._number(("brand", brand or ""), ROOT)
        self._groups[row] = line

    def groups(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """int32 [N, ``DEPTHS`` + 1] of rows that were put: the category at each depth, ``ROOT``
        below the last one, and the brand."""
        return self._groups[rows]

    def shares(self, rows: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Everybody's share of each group in the one above, float64 [G], all positive.

        Args:
            rows: [N] items that were taken.
            weights: [N] how often, in any unit.
        """
        count, parents = len(self), self.parents
        groups = self.groups(rows)
        own = np.bincount(groups.ravel(), np.repeat(weights, DEPTHS + 1), count)
        own[ROOT] = weights.sum()
        # Brands and categories both divide the whole, so that each has its own siblings.
        is_brand = np.zeros(count, np.bool_)
        is_brand[[number for name, number in self._number_of.items() if name[0] == "brand"]] = True
        family = np.where(is_brand, count, parents)
        siblings = np.bincount(family[1:], minlength=count + 1)[family]
        even = 1.0 / np.maximum(siblings, 1)
        above = own[parents]
        share = np.divide(own, above, out=even.copy(), where=above > 0)
        found: NDArray[np.float64] = (1 - EVEN_PART) * share + EVEN_PART * even
        found[ROOT] = 1.0
        return found

    def _number(self, name: tuple[str, ...], above: int) -> int:
        number = self._number_of.setdefault(name, len(self._parents))
        if number == len(self._parents):
            self._parents.append(above)
        return number


class Taken(NamedTuple):
    """What users have done, an entry for each event: two arrays [N]."""

    owner: NDArray[np.int64]
    """Number of the user."""
    items: NDArray[np.uint64]
    """Hashes."""


class Affinities(NamedTuple):
    """How much more than others L users take of what C items are."""

    category: NDArray[np.float32]
    """[L, C]: logarithm of the share over everybody's, all levels of the path together."""
    brand: NDArray[np.float32]
    """[L, C]"""


def taken(histories: Histories, purchases: PurchaseTable) -> Taken:
    """The events of profiles: all purchases, and the interactions that are none."""
    other = histories.kinds != PURCHASE
    return Taken(
        np.concatenate([purchases.owner, histories.owner[other]]),
        np.concatenate([purchases.items, histories.items[other]]),
    )


def affinities(
    tree: GroupTree,
    shares: NDArray[np.float64],
    owner: NDArray[np.int64],
    rows: NDArray[np.int64],
    *,
    lists: int,
    items: NDArray[np.int64],
    smoothing: float,
) -> Affinities:
    """What the events of L users say of C items.

    Args:
        tree: of the table.
        shares: everybody's, see ``GroupTree.shares``.
        owner: int64 [N], whose event it was.
        rows: int64 [N], of which item; -1 for one that the table does not hold.
        lists: L.
        items: rows int64 [C].
        smoothing: of everybody's events so many are imagined, above 0.
    """
    held = rows >= 0
    owner, asked = owner[held], tree.groups(items)
    is_asked = np.zeros(len(tree), np.bool_)
    is_asked[asked] = is_asked[ROOT] = True
    # Only groups of these items get a column; whatever else was taken counts in the last one.
    wanted = np.flatnonzero(is_asked)
    column = np.full(len(tree), len(wanted))
    column[wanted] = np.arange(len(wanted))
    width = len(wanted) + 1
    events = column[tree.groups(rows[held])]
    counts = np.bincount((owner[:, None] * width + events).ravel(), minlength=lists * width)
    own = counts.reshape(lists, width)[:, :-1].astype(np.float32)
    own[:, ROOT] = np.bincount(owner, minlength=lists)
    parents = column[tree.parents[wanted]]
    share = shares[wanted].astype(np.float32)
    mu = np.float32(smoothing)
    levels = np.log((own / share + mu) / (own[:, parents] + mu))
    levels[:, ROOT] = 0
    places = column[asked]
    # Numbers rise along a path: the highest one is that of the whole path.
    ends = places[:, :DEPTHS].max(axis=1)
    item_of_end = np.full(len(wanted), -1)
    item_of_end[ends] = np.arange(len(ends))
    distinct = np.flatnonzero(item_of_end >= 0)
    lines = places[item_of_end[distinct]]
    path_of_end = np.zeros(len(wanted), np.int64)
    path_of_end[distinct] = np.arange(len(distinct))
    paths = levels[:, lines[:, 0]]
    for depth in range(1, DEPTHS):
        paths += levels[:, lines[:, depth]]
    which = path_of_end[ends]
    return Affinities(paths.take(which, axis=1), levels.take(places[:, DEPTHS], axis=1))
