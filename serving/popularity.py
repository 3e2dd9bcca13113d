"""What is popular now, overall and in each category: the shared counts beside the catalogue."""

import numpy as np
from numpy.typing import NDArray

from serving.catalog import Catalog
from serving.counts import Neighbours


class Popularity:
    """Popular items as of the last ``refresh``.

    A category is what the catalogue says of an item now, so that an item that moves takes its
    popularity along.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.rows = np.empty(0, np.int64)
        """Catalogue rows, most popular first."""
        # One place more at either end: for no row at all, and for rows younger than this table.
        self._weight_of_row = np.zeros(2)
        self.total = 0.0
        """Forward-decayed events of all items."""
        self._in_category: dict[tuple[str, ...], NDArray[np.int64]] = {}

    def refresh(self, popular: Neighbours) -> None:
        """Take over what was read from the shared counts."""
        rows = self._catalog.rows_of_hashes(popular.items)
        known = rows >= 0
        self.rows = rows[known]
        self._weight_of_row = np.zeros(len(self._catalog.items) + 2)
        self._weight_of_row[self.rows + 1] = popular.weights[known]
        self.total = float(popular.weights.sum())
        self._in_category = {}

    def in_category(self, category: tuple[str, ...]) -> NDArray[np.int64]:
        """Rows of the popular items in a category or below it, most popular first."""
        found = self._in_category.get(category)
        if found is None:
            items, depth = self._catalog.items, len(category)
            inside = [items[row].category[:depth] == category for row in self.rows.tolist()]
            found = self._in_category[category] = self.rows[np.array(inside, np.bool_)]
        return found

    def weights(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Forward-decayed weight of each row, float64 of the same shape; 0 for row -1."""
        found: NDArray[np.float64] = np.take(self._weight_of_row, rows + 1, mode="clip")
        return found
