"""What is known of new items for the baskets of a log, as a worker knows it of its lists."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from model.affinity import Affinities, GroupTree, affinities, taken
from model.dataset import Baskets, EventLog
from model.features import DAY_MS, Histories, PurchaseTable
from model.fresh_score import FreshSignals
from model.items import Item


class FreshOfLog:
    """Affinities and popularity, each as of the midnight before a basket.

    Args:
        log: all rows; its positions stand for the rows of a catalogue.
        items: the catalogue; an item of the log that it lacks has neither category nor brand.
        counts: decayed events of each position, float64, as of the midnight before a moment (epoch
            ms), such as those of ``model.baselines.DecayedPopularity``.
    """

    def __init__(
        self,
        log: EventLog,
        items: Sequence[Item],
        counts: Callable[[int], NDArray[np.float64]],
    ) -> None:
        self._log = log
        self._counts = counts
        self._tree = GroupTree()
        item_of = {item.item_id: item for item in items}
        for row, name in enumerate(log.item_ids):
            item = item_of.get(name, Item(item_id=name))
            self._tree.put(row, item.category, item.brand)

    def signals(self, baskets: Baskets, items: NDArray[np.int64], smoothing: float) -> FreshSignals:
        """Of C items, positions int64 [C], for L baskets."""
        shape = len(baskets), len(items)
        popular, category, brand = (np.zeros(shape, np.float32) for _ in range(3))
        times = np.array([baskets.time(number) for number in range(len(baskets))], np.int64)
        for day in np.unique(times // DAY_MS).tolist():
            here = np.flatnonzero(times // DAY_MS == day)
            counts = self._counts(day * DAY_MS)
            popular[here] = counts[items]
            found = self._affinities(baskets.take(here), items, counts, smoothing)
            category[here], brand[here] = found
        return FreshSignals(popular, Affinities(category, brand))

    def _affinities(
        self,
        baskets: Baskets,
        items: NDArray[np.int64],
        counts: NDArray[np.float64],
        smoothing: float,
    ) -> Affinities:
        numbers = range(len(baskets))
        events = taken(
            Histories.of([baskets.interactions(number) for number in numbers]),
            PurchaseTable.of([baskets.purchases(number) for number in numbers]),
        )
        sold = np.flatnonzero(counts)
        return affinities(
            self._tree, self._tree.shares(sold, counts[sold]),
            events.owner, self._log.positions_of(events.items),
            lists=len(baskets), items=items, smoothing=smoothing,
        )  # fmt: skip
