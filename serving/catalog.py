"""The items a worker knows, and which of them may be recommended now.

An item is a row. Rows are only ever added: an item whose text changed gets a new one, so that
the search index need not take anything back; availability and price change in place.
"""

import sys
from collections.abc import Callable, Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.features import FIRST_ITEM, UNKNOWN, Vocabulary
from model.ids import item_hash
from model.items import Item
from serving.hash_table import HashTable
from serving.item_groups import ItemGroups
from serving.search import SearchIndex

NEVER = np.float32(-1e9)
"""Bias of what must not be recommended: finite, so that no score becomes NaN."""


class Catalog:
    """Items by row, with the vocabulary row and availability of each as arrays.

    Args:
        vocabulary: of the bundle.
        search_index: empty; None for one that goes by words alone.
    """

    def __init__(self, vocabulary: Vocabulary, search_index: SearchIndex | None = None) -> None:
        # Sorted columns: a dict of a million numbers takes 100 MB, these 16.
        order = np.argsort(vocabulary.hashes, kind="stable")
        self._model_hashes = vocabulary.hashes[order]
        self._model_row_of_place = order + FIRST_ITEM
        self.items: list[Item] = []
        self.search_index = search_index or SearchIndex()
        self.categories = ItemGroups()
        """Rows by the most special category."""
        self._row_of_id: dict[str, int] = {}
        self._row_of_hash = HashTable()
        # What is not in the table yet, for it takes many hashes as fast as one.
        self._moved: dict[int, int] = {}
        # The last place stays free: there row -1 finds that it may not be recommended.
        self._allowed = np.zeros(1024, dtype=np.bool_)
        # Of what the shop has, some may be barred.
        self._offered = np.zeros(1024, dtype=np.bool_)
        self._barred = np.zeros(1024, dtype=np.bool_)
        self._watchers: list[Callable[[int, Item], None]] = []
        self._model_rows = np.full(1024, UNKNOWN, dtype=np.int64)
        self.item_bias = np.full(len(vocabulary), NEVER, dtype=np.float32)
        """float32 [V] for the network: 0 where the item may be recommended, else ``NEVER``."""
        self.bias_edition = 0
        """Another number whenever what ``item_bias`` holds has changed."""
        self.edition = 0
        """Another number whenever an item gets or loses its row: until then rows may be cached."""
        self._row_of_model = np.full(len(vocabulary), -1, dtype=np.int64)

    def __len__(self) -> int:
        """Items that may be recommended now."""
        return int(self.allowed.sum())

    @property
    def allowed(self) -> NDArray[np.bool_]:
        """bool [rows]: which rows are current and available."""
        return self._allowed[: len(self.items)]

    def usable(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool, of the same shape: which of these rows may be recommended now; -1 may not."""
        return self._allowed[rows]

    def bar(self, rows: NDArray[np.int64], barred: NDArray[np.bool_]) -> None:
        """Say of distinct rows whether a rule hides them: such a row may not be recommended."""
        changed = self._barred[rows] != barred
        if not changed.any():
            return
        rows, barred = rows[changed], barred[changed]
        self._barred[rows] = barred
        self._allowed[rows] = allowed = self._offered[rows] & ~barred
        model_rows = self._model_rows[rows]
        known = (model_rows >= FIRST_ITEM) & (self._row_of_model[model_rows] == rows)
        self.item_bias[model_rows[known]] = np.where(allowed[known], np.float32(0), NEVER)
        self.bias_edition += 1

    def watch(self, watcher: Callable[[int, Item], None]) -> None:
        """Have ``watcher`` told of each row and what item it holds: now, and when one is put."""
        for row, item in enumerate(self.items):
            watcher(row, item)
        self._watchers.append(watcher)

    @property
    def model_rows(self) -> NDArray[np.int64]:
        """int64 [rows]: the vocabulary row of each."""
        return self._model_rows[: len(self.items)]

    def get(self, item_id: str) -> Item | None:
        """The current item of that id."""
        row = self._row_of_id.get(item_id)
        return None if row is None else self.items[row]

    def known(self, item_ids: Iterable[str]) -> tuple[int, int]:
        """How many of these are current items, and how many of those the network has learned."""
        rows = [row for row in map(self._row_of_id.get, item_ids) if row is not None]
        return len(rows), int((self._model_rows[rows] >= FIRST_ITEM).sum()) if rows else 0

    def put(self, item: Item) -> None:
        """Add an item, or replace what is known of it."""
        item = self._shared(item)
        row = self._row_of_id.get(item.item_id)
        if row is not None and _text(self.items[row]) == _text(item):
            self.items[row] = item
        else:
            if row is not None:
                self._allow(row, False)
            row = self._append(item)
        self.categories.put(row, item.category)
        self._allow(row, item.available)
        for watcher in self._watchers:
            watcher(row, item)

    def remove(self, item_id: str) -> None:
        """Forget an item; one that is not known is no error."""
        row = self._row_of_id.pop(item_id, None)
        if row is not None:
            self._allow(row, False)
            self._moved[item_hash(item_id)] = -1
            self.edition += 1

    def row_of(self, item_id: str | None) -> int:
        """The current row of an item, -1 where there is none."""
        return self._row_of_id.get(item_id, -1) if item_id is not None else -1

    def rows_of_hashes(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The current row of each of N item hashes, -1 where there is none."""
        if self._moved:
            moved, self._moved = self._moved, {}
            self._row_of_hash.put(
                np.fromiter(moved.keys(), np.uint64, len(moved)),
                np.fromiter(moved.values(), np.int64, len(moved)),
            )
        return self._row_of_hash.find(hashes)

    def rows_of_model(self, model_rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The current row of each vocabulary row, -1 where there is none; any shape."""
        return self._row_of_model[model_rows]

    def _append(self, item: Item) -> int:
        row = len(self.items)
        if row == len(self._allowed) - 1:
            more = np.zeros_like(self._allowed)
            self._allowed = np.concatenate([self._allowed, more])
            self._offered = np.concatenate([self._offered, more])
            self._barred = np.concatenate([self._barred, more])
            self._model_rows = np.concatenate(
                [self._model_rows, np.full_like(self._model_rows, UNKNOWN)]
            )
        hashed = item_hash(item.item_id)
        model_row = self._model_row(hashed)
        self.items.append(item)
        self._row_of_id[item.item_id] = row
        self._moved[hashed] = row
        self._model_rows[row] = model_row
        if model_row >= FIRST_ITEM:
            self._row_of_model[model_row] = row
        self.search_index.add(row, item.title, item.category, item.brand)
        self.edition += 1
        return row

    def _model_row(self, hashed: int) -> int:
        """The vocabulary row of an item hash, ``UNKNOWN`` where there is none."""
        place = int(np.searchsorted(self._model_hashes, np.uint64(hashed)))
        if place == len(self._model_hashes) or self._model_hashes[place] != hashed:
            return UNKNOWN
        return int(self._model_row_of_place[place])

    def _shared(self, item: Item) -> Item:
        """The same item, whose category and brand are those that others of it hold already."""
        codes = self.categories.codes
        category = codes.values[codes.of(item.category)] or ()
        brand = item.brand if item.brand is None else sys.intern(item.brand)
        return msgspec.structs.replace(item, category=category, brand=brand)

    def _allow(self, row: int, offered: bool) -> None:
        self._offered[row] = offered
        self._allowed[row] = allowed = offered and not self._barred[row]
        model_row = self._model_rows[row]
        if model_row >= FIRST_ITEM and self._row_of_model[model_row] == row:
            self.item_bias[model_row] = 0 if allowed else NEVER
            self.bias_edition += 1


def _text(item: Item) -> tuple[str, tuple[str, ...], str | None]:
    return item.title, item.category, item.brand
