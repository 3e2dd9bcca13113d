"""Lists that may hold only some items: those that a caller names, as the hits of a shop's own
search, and those that a filter selects.

What is named or selected is scored for its list whether a source proposes it or not, beside the
network's nearest items and under their mark; everything else is kept out at the very end.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.features import PADDING
from model.key_places import Keys, places_of
from serving.candidates import CandidateSources
from serving.catalog import Catalog
from serving.item_columns import ItemColumns
from serving.rules import Selector
from serving.selection import Selection

OFFERED = 200
"""Of a filter: its most popular items, so that a narrow one still fills a list."""
KEPT_FILTERS = 256
"""A shop filters by its brands and departments: the same ones again and again."""
FRESH_S = 5.0
"""How old what is popular may be, as elsewhere."""
NO_ROWS = np.empty(0, np.int64)

Rows: TypeAlias = NDArray[np.int64]


class Wanted(NamedTuple):
    """What one list may hold."""

    items: tuple[str, ...] | None = None
    """Only these, of which also those may return that the user knows; None: any."""
    only: Selector | None = None
    """Only what this selects; None: anything."""


@dataclass
class _Filter:
    selection: Selection
    offered: Rows = field(default_factory=lambda: NO_ROWS)
    read_s: float = -np.inf


class Shelf:
    """Finds what lists may hold in a catalogue.

    Args:
        catalog: whose items they are.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._columns = ItemColumns(catalog)
        self._filters: OrderedDict[Selector, _Filter] = OrderedDict()

    def narrow(
        self, wanted: Sequence[Wanted], times: Rows, candidates: CandidateSources
    ) -> "Narrowed | None":
        """What L lists may hold; None where all of them may hold anything.

        Args:
            wanted: of each list.
            times: int64 [L], epoch milliseconds, for filters by age.
            candidates: who know what is popular.
        """
        # Nobody here goes by what has changed.
        self._columns.changed.clear()
        if all(each.items is None and each.only is None for each in wanted):
            return None
        offered = [self._offered(*each, candidates) for each in zip(wanted, times, strict=True)]
        table = np.full((len(wanted), max(map(len, offered))), -1, np.int64)
        for number, rows in enumerate(offered):
            table[number, : len(rows)] = rows
        return Narrowed(
            table,
            np.array([each.items is not None for each in wanted], np.bool_),
            {at: self._filter(each.only).selection for at, each in enumerate(wanted) if each.only},
            times,
            self._catalog,
        )

    def _offered(self, wanted: Wanted, time: np.int64, candidates: CandidateSources) -> Rows:
        if wanted.items is None:
            return NO_ROWS if wanted.only is None else self._popular(wanted.only, candidates)
        rows = np.array([self._catalog.row_of(each) for each in dict.fromkeys(wanted.items)])
        rows = rows[self._catalog.usable(rows.astype(np.int64))] if len(rows) else NO_ROWS
        if wanted.only is None or not len(rows):
            return rows
        selection = self._filter(wanted.only).selection
        return rows[selection.of(rows) & selection.of_age(rows, np.full(len(rows), time))]

    def _popular(self, only: Selector, candidates: CandidateSources) -> Rows:
        found, now_s = self._filter(only), monotonic()
        if now_s - found.read_s > FRESH_S:
            rows = np.flatnonzero(self._catalog.allowed)
            rows = rows[found.selection.of(rows)]
            weights = candidates.popular_now.weights(rows)
            if len(rows) > OFFERED:
                rows = rows[np.argpartition(-weights, OFFERED)[:OFFERED]]
            found.offered, found.read_s = rows, now_s
        return found.offered[self._catalog.usable(found.offered)]

    def _filter(self, only: Selector) -> _Filter:
        found = self._filters.get(only)
        if found is None:
            found = self._filters[only] = _Filter(Selection(only, self._catalog, self._columns))
            if len(self._filters) > KEPT_FILTERS:
                self._filters.popitem(last=False)
        self._filters.move_to_end(only)
        return found


@dataclass(frozen=True)
class Narrowed:
    """What L lists may hold."""

    offered: Rows
    """int64 [L, G]: distinct rows of the catalogue to score for each list, -1 behind them."""
    named: NDArray[np.bool_]
    """bool [L]: which may hold nothing but what is offered."""
    selections: dict[int, Selection]
    """By number of the list."""
    times: Rows
    catalog: Catalog

    @property
    def model_rows(self) -> Rows:
        """int64 [L, G]: what the network is to score beside the candidates."""
        if not self.offered.size:
            return self.offered
        rows = self.catalog.model_rows[np.maximum(self.offered, 0)]
        return np.where(self.offered >= 0, rows, PADDING)

    def joined(
        self, nearest: Rows, nearest_scores: NDArray[np.float32], scores: NDArray[np.float32]
    ) -> tuple[Rows, NDArray[np.float32]]:
        """The nearest items of each list, with what is offered behind them, each item once.

        Args:
            nearest: rows of the catalogue, int64 [L, K], -1 for none.
            nearest_scores: float32 [L, K].
            scores: of what is offered, float32 [L, G].
        """
        nearest = np.where(self.named[:, None], -1, nearest)
        lists = np.arange(len(nearest))[:, None]
        at, held = self.offered >= 0, nearest >= 0
        offered = self.offered.copy()
        offered[at] = np.where(
            places_of(
                Keys(np.broadcast_to(lists, at.shape)[at], self.offered[at]),
                Keys(np.broadcast_to(lists, held.shape)[held], nearest[held]),
                len(nearest),
            )
            < 0,
            self.offered[at],
            -1,
        )
        return np.hstack([nearest, offered]), np.hstack([nearest_scores, scores])

    def allowed(self, allowed: NDArray[np.bool_], owner: Rows, rows: Rows) -> NDArray[np.bool_]:
        """Which of N candidates may stand in their lists, bool [N].

        Args:
            allowed: bool [N], which might without this.
            owner: number of the list, int64 [N].
            rows: of the catalogue, int64 [N].
        """
        named = self.named[owner]
        given = self.offered >= 0
        lists = np.broadcast_to(np.arange(len(given))[:, None], given.shape)
        is_offered = (
            places_of(Keys(owner, rows), Keys(lists[given], self.offered[given]), len(given)) >= 0
        )
        allowed = np.where(named, is_offered & self.catalog.usable(rows), allowed)
        for number, selection in self.selections.items():
            here = np.flatnonzero(owner == number)
            at = np.full(len(here), self.times[number])
            allowed[here] &= selection.of(rows[here]) & selection.of_age(rows[here], at)
        return allowed

    def reserved(self, places: Rows, owner: Rows) -> Rows:
        """Those places that are to stand at the end of their lists: where items are named, none."""
        return places[~self.named[owner[places]]]
