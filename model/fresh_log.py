"""What is known of new items for the baskets of a log, as a worker knows it of its lists."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from model.affinity import Affinities, affinities, taken
from model.baselines import DAYS_CACHED
from model.dataset import Baskets
from model.features import DAY_MS, Histories, Interactions, Purchases, PurchaseTable
from model.fresh_score import LOOKED_AT, FreshSignals, is_hardly_known, little_known
from model.log_catalogue import LogCatalogue


class FreshOfLog:
    """Affinities and popularity, each as of the midnight before a basket.

    Args:
        catalogue: of the log.
        counts: decayed events of each position, float64, as of the midnight before a moment (epoch
            ms), such as those of ``model.baselines.DecayedPopularity``.
    """

    def __init__(
        self, catalogue: LogCatalogue, counts: Callable[[int], NDArray[np.float64]]
    ) -> None:
        self._catalogue = catalogue
        self._counts = counts
        self._shares = lru_cache(maxsize=DAYS_CACHED)(self._shares_of)
        self.little_known = lru_cache(maxsize=DAYS_CACHED)(self._little_known)
        """Of a day since 1970: the items that a worker scores for every list, the newest first."""

    def signals(self, baskets: Baskets, items: NDArray[np.int64], smoothing: float) -> FreshSignals:
        """Of C items, positions int64 [C], for L baskets."""
        shape = len(baskets), len(items)
        popular, category, brand = (np.zeros(shape, np.float32) for _ in range(3))
        times = np.array([baskets.time(number) for number in range(len(baskets))], np.int64)
        for day in np.unique(times // DAY_MS).tolist():
            here = np.flatnonzero(times // DAY_MS == day)
            numbers = here.tolist()
            found = self.of_day(
                day,
                [baskets.interactions(number) for number in numbers],
                [baskets.purchases(number) for number in numbers],
                items,
                smoothing,
            )
            popular[here] = found.popular
            category[here], brand[here] = found.affinities
        return FreshSignals(popular, Affinities(category, brand))

    def of_day(
        self,
        day: int,
        histories: Sequence[Interactions],
        purchases: Sequence[Purchases],
        items: NDArray[np.int64],
        smoothing: float,
    ) -> FreshSignals:
        """Of C items, positions int64 [C], for L profiles of one day (since 1970)."""
        counts, catalogue = self._counts(day * DAY_MS), self._catalogue
        events = taken(Histories.of(histories), PurchaseTable.of(purchases))
        found = affinities(
            catalogue.tree, self._shares(day),
            events.owner, catalogue.log.positions_of(events.items),
            lists=len(histories), items=items, smoothing=smoothing,
        )  # fmt: skip
        popular = np.broadcast_to(counts[items].astype(np.float32), found.category.shape)
        return FreshSignals(popular, found)

    def _shares_of(self, day: int) -> NDArray[np.float64]:
        counts = self._counts(day * DAY_MS)
        sold = np.flatnonzero(counts)
        return self._catalogue.tree.shares(sold, counts[sold])

    def _little_known(self, day: int) -> NDArray[np.int64]:
        newest = self._catalogue.known_by(day * DAY_MS)[-LOOKED_AT:]
        return little_known(newest, is_hardly_known(self._counts(day * DAY_MS)[newest]))
