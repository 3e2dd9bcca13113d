"""Rows of an item-by-item table with few entries each, and fast sums of some of them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.method import Scores
from model.ragged import ranges
from model.sequences import Sequences

MOST_DENSE_ITEMS = 8_000
"""A full table of so many items takes 256 MB."""
DENSE_SPEED = 1000
"""Cells of a full product in the time of one sparse entry: about 20 ns against 1/50 ns."""


@dataclass(frozen=True)
class SparseRows:
    """Row i is ``columns`` and ``values`` from ``starts[i]`` to before ``starts[i + 1]``."""

    starts: NDArray[np.int64]
    """int64 [items + 1]."""
    columns: NDArray[np.int32]
    values: NDArray[np.float32]

    @classmethod
    def from_keys(
        cls, keys: NDArray[np.int64], values: NDArray[np.float32], size: int
    ) -> "SparseRows":
        """Ascending distinct keys (row * size + column) and their values."""
        starts = np.searchsorted(keys, np.arange(size + 1, dtype=np.int64) * size)
        return cls(starts.astype(np.int64), (keys % size).astype(np.int32), values)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def rows(self) -> NDArray[np.int64]:
        """int64 [entries]: the row of each entry."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def row_sums(self) -> NDArray[np.float64]:
        """float64 [items]."""
        return _sums(self.rows, self.values, len(self))

    def column_sums(self) -> NDArray[np.float64]:
        """float64 [items]."""
        return _sums(self.columns, self.values, len(self))

    def strongest(self, count: int) -> "SparseRows":
        """The ``count`` highest values of each row; of equal ones, those of the lower columns."""
        order = np.lexsort((-self.values, self.rows))
        place = np.arange(len(order)) - self.starts[:-1][self.rows]
        kept = np.sort(order[place < count])
        starts = np.zeros_like(self.starts)
        np.cumsum(np.minimum(np.diff(self.starts), count), out=starts[1:])
        return SparseRows(starts, self.columns[kept], self.values[kept])

    def weighted_sums(self, histories: Sequences, weights: NDArray[np.float64]) -> Scores:
        """For each history, the sum of its items' rows.

        Args:
            histories: B of them, of N events in all.
            weights: float64 [N], one for each event.

        Returns:
            [B, items]; float32 where a product of full matrices is the faster way.
        """
        begins = self.starts[:-1][histories.items]
        counts = self.starts[1:][histories.items] - begins
        cells_of_product = len(histories) * len(self) ** 2
        if len(self) <= MOST_DENSE_ITEMS and counts.sum() * DENSE_SPEED > cells_of_product:
            events = histories.rows * len(self) + histories.items
            return self._product(_sums(events, weights, len(histories) * len(self)))
        entries = ranges(begins, counts)
        cells = np.repeat(histories.rows * len(self), counts) + self.columns[entries]
        values = self.values[entries] * np.repeat(weights, counts)
        sums = _sums(cells, values, len(histories) * len(self))
        return sums.reshape(len(histories), len(self))

    def _product(self, histories: NDArray[np.float64]) -> Scores:
        """The same by a product of full matrices."""
        return histories.reshape(-1, len(self)).astype(np.float32) @ self._full

    @cached_property
    def _full(self) -> NDArray[np.float32]:
        full = np.zeros((len(self), len(self)), np.float32)
        full[self.rows, self.columns] = self.values
        return full


def _sums(
    cells: NDArray[np.integer[Any]], values: NDArray[np.floating[Any]], size: int
) -> NDArray[np.float64]:
    # Without a cell bincount forgets the weights, and counts in integers.
    return np.bincount(cells, values, size).astype(np.float64, copy=False)
