"""Which rows of the catalogue a rule's selector means."""

import numpy as np
from numpy.typing import NDArray

from model.features import DAY_MS
from serving.catalog import Catalog
from serving.item_columns import ItemColumns, Told
from serving.rules import Range, Selector


class Selection:
    """A selector, ready for a catalogue. Age passes, so that it is asked for apart."""

    def __init__(self, selector: Selector, catalog: Catalog, columns: ItemColumns) -> None:
        self._selector, self._catalog, self._columns = selector, catalog, columns
        self._items = frozenset(selector.items)
        brands, tags = frozenset(selector.brands), frozenset(selector.tags)
        paths = [(each,) if isinstance(each, str) else each for each in selector.categories]
        self._of_brand = Told(columns.brands, brands.__contains__, np.bool_)
        self._of_tags = Told(columns.tags, lambda tagged: not tags.isdisjoint(tagged), np.bool_)
        self._of_category = Told(
            catalog.categories.codes,
            lambda category: any(category[: len(path)] == path for path in paths),
            np.bool_,
        )

    @property
    def is_aged(self) -> bool:
        """Whether age matters."""
        return self._selector.age_days is not None

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of N rows are selected, whatever their age: bool [N]."""
        selector, columns = self._selector, self._columns
        selected = np.ones(len(rows), np.bool_)
        if selector.items:
            selected &= self._named(rows)
        if selector.brands:
            selected &= self._of_brand(columns.brand[rows])
        if selector.categories:
            selected &= self._of_category(self._catalog.categories.of(rows))
        if selector.tags:
            selected &= self._of_tags(columns.tagged[rows])
        if selector.price:
            selected &= _within(columns.price[rows], selector.price)
        if selector.stock:
            selected &= _within(columns.stock[rows], selector.stock)
        return selected

    def _named(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which are the rows of the selector's items: of many rows, the current ones only."""
        if len(rows) < len(self._items):
            items = self._catalog.items
            return np.array([items[row].item_id in self._items for row in rows.tolist()], np.bool_)
        return np.isin(rows, [self._catalog.row_of(each) for each in self._items])

    def of_age(self, rows: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of N rows are of the right age at a time of each, epoch milliseconds: bool [N]."""
        ages = self._selector.age_days
        if ages is None:
            return np.ones(len(rows), np.bool_)
        return _within((times - self._columns.created[rows]) / DAY_MS, ages)


def _within(values: NDArray[np.float64], bounds: Range) -> NDArray[np.bool_]:
    """What is no number is in no range."""
    low = -np.inf if bounds.min is None else bounds.min
    high = np.inf if bounds.max is None else bounds.max
    return np.asarray((values >= low) & (values <= high))
