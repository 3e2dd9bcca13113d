"""What rules ask of items, in columns by catalogue row; kept only where somebody asks."""

from collections.abc import Callable
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

from model.interests import NONE
from model.items import Item
from serving.catalog import Catalog
from serving.item_groups import Codes, Value

FIRST_CAPACITY = 1024


class Told(Generic[Value]):
    """What a function says of each value, told from the codes: each value is asked about once.

    Args:
        codes: of the values.
        function: gives a number that fits.
        kind: of the numbers.
    """

    def __init__(
        self, codes: Codes[Value], function: Callable[[Value], int], kind: type[np.generic]
    ) -> None:
        self._codes, self._function = codes, function
        self._known = np.zeros(1, kind)

    def __call__(self, codes: NDArray[np.int32]) -> NDArray[Any]:
        """What is said of each of N codes; 0 of ``NONE``."""
        new = self._codes.values[len(self._known) :]
        if new:
            said = [0 if value is None else self._function(value) for value in new]
            self._known = np.concatenate([self._known, np.array(said, self._known.dtype)])
        return self._known[codes]


class ItemColumns:
    """The catalogue's items, row by row, as they change. All columns are of one length."""

    def __init__(self, catalog: Catalog) -> None:
        self.brands: Codes[str] = Codes()
        self.tags: Codes[tuple[str, ...]] = Codes()
        # One place more than rows: there row -1 finds that it says nothing.
        self.brand = np.zeros(FIRST_CAPACITY, np.int32)
        self.tagged = np.zeros(FIRST_CAPACITY, np.int32)
        self.price = np.full(FIRST_CAPACITY, np.nan)
        self.stock = np.full(FIRST_CAPACITY, np.nan)
        self.created = np.full(FIRST_CAPACITY, np.nan)
        """Epoch milliseconds."""
        self.changed: list[int] = []
        """Rows that were put since whoever follows has emptied this."""
        catalog.watch(self._put)

    def _put(self, row: int, item: Item) -> None:
        if row >= len(self.brand) - 1:
            self._grow()
        self.brand[row] = self.brands.of(item.brand)
        self.tagged[row] = self.tags.of(item.tags)
        self.price[row] = np.nan if item.price is None else item.price
        self.stock[row] = np.nan if item.stock is None else item.stock
        created = item.created_ms
        self.created[row] = np.nan if created is None else created
        self.changed.append(row)

    def _grow(self) -> None:
        size = len(self.brand)
        for name in ("brand", "tagged", "price", "stock", "created"):
            column = getattr(self, name)
            more = np.full(size, np.nan if column.dtype == np.float64 else NONE, column.dtype)
            setattr(self, name, np.concatenate([column, more]))
