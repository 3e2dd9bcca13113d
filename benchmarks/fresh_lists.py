"""Lists of new items in the order that the source of fresh items has."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.cold_lists import NewItems
from model.affinity import Affinities, GroupTree, affinities, taken
from model.baselines import DecayedPopularity
from model.dataset import Baskets, EventLog
from model.features import DAY_MS, Histories, PurchaseTable
from model.fresh_fit import Choices, fitted_fresh_weights
from model.fresh_score import FreshSignals, FreshWeights, fresh_scores
from model.items import Item


class FreshLists:
    """New items by what sells now and what the user takes, as a worker orders them.

    Args:
        log: all rows; its positions stand for the rows of a catalogue.
        items: the catalogue.
        half_life_days: of popularity.
    """

    def __init__(self, log: EventLog, items: Sequence[Item], half_life_days: float) -> None:
        self._log = log
        self._popular = DecayedPopularity(log, half_life_days)
        self._tree = GroupTree()
        item_of = {item.item_id: item for item in items}
        for row, name in enumerate(log.item_ids):
            item = item_of.get(name, Item(item_id=name))
            self._tree.put(row, item.category, item.brand)

    def signals(self, new: NewItems, smoothing: float) -> FreshSignals:
        """Of all baskets, each as of the midnight before it."""
        count, width = len(new.baskets), len(new.items)
        popular, category, brand = (np.zeros((count, width), np.float32) for _ in range(3))
        times = np.array([new.baskets.time(number) for number in range(count)], np.int64)
        for day in np.unique(times // DAY_MS).tolist():
            here = np.flatnonzero(times // DAY_MS == day)
            counts = self._popular.counts(day * DAY_MS)
            popular[here] = counts[new.items]
            found = self._affinities(new.baskets.take(here), new.items, counts, smoothing)
            category[here], brand[here] = found
        return FreshSignals(popular, Affinities(category, brand))

    def fitted(self, new: NewItems, *, unsold: bool) -> FreshWeights:
        """The weights under which these baskets are likeliest, see ``fitted_fresh_weights``."""
        choices = Choices(new.targets, new.listed)
        return fitted_fresh_weights(
            lambda smoothing: self.signals(new, smoothing), choices, unsold=unsold
        )

    def scores(self, new: NewItems, weights: FreshWeights) -> Iterable[NDArray[np.float32]]:
        """Of the new items, for each basket."""
        return fresh_scores(weights, self.signals(new, weights.smoothing))

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
