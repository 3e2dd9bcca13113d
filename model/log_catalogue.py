"""What a catalogue says of the items of a log: their categories, and since when there is each."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from model.affinity import GroupTree
from model.dataset import EventLog
from model.interests import NONE
from model.items import Item


class LogCatalogue:
    """A catalogue whose rows are the positions of a log's items.

    An item is known from the time on that the catalogue states (``created``) or its first event
    tells, whichever is earlier. Where the catalogue states none, an item is so unknown on the day
    of its first event, though a worker may have read its record by then: the log does not tell, and
    whatever else is said of it would tell who buys it first.

    Args:
        log: all rows.
        items: the catalogue; an item of the log that it lacks has neither category nor brand, and
            one that the log does not name is passed over.
    """

    def __init__(self, log: EventLog, items: Sequence[Item]) -> None:
        self.log = log
        self.tree = GroupTree()
        self.known_since = log.first_times.copy()
        """int64 [items]: epoch ms."""
        item_of = {item.item_id: item for item in items}
        paths: list[tuple[str, ...]] = []
        for row, name in enumerate(log.item_ids):
            item = item_of.get(name, Item(item_id=name))
            self.tree.put(row, item.category, item.brand)
            paths.append(item.category)
            if (created := item.created_ms) is not None:
                self.known_since[row] = min(created, int(self.known_since[row]))
        self._number_paths(paths)
        self._by_age = np.argsort(self.known_since, kind="stable")
        self._ages = self.known_since[self._by_age]

    def categories(self, items: NDArray[np.int64]) -> NDArray[np.int32]:
        """The number of each item's most special category, of the same shape; ``NONE`` for -1."""
        return self._category[items]

    def in_category(self, category: int, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of the items that are in a category or below it, in their order."""
        inside: NDArray[np.bool_] = self._above[items, self._depth[category] - 1] == category
        return items[inside]

    def known_by(self, time: int) -> NDArray[np.int64]:
        """The items known before ``time`` (epoch ms), the newest last."""
        return self._by_age[: np.searchsorted(self._ages, time)]

    def _number_paths(self, paths: Sequence[tuple[str, ...]]) -> None:
        depth = max(map(len, paths), default=0)
        self._above = np.full((len(paths), max(depth, 1)), NONE, np.int32)
        # One place more: there position -1 finds that it has no category.
        self._category = np.full(len(paths) + 1, NONE, np.int32)
        numbers: dict[tuple[str, ...], int] = {(): NONE}

        @cache
        def line(path: tuple[str, ...]) -> list[int]:
            parts = [path[: end + 1] for end in range(len(path))]
            return [numbers.setdefault(part, len(numbers)) for part in parts]

        for row, path in enumerate(paths):
            if path:
                self._above[row, : len(path)] = line(path)
                self._category[row] = numbers[path]
        self._depth = np.array([len(path) for path in numbers], np.int64)
