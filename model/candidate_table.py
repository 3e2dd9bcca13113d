"""Candidates of baskets, all that is known of each, and the lists that a blend makes of them."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.blend import BlendWeights, Signals, blend
from model.dataset import Baskets
from model.pool_table import best_of_lists
from model.top_metrics import CUT, TopMetrics, rank_metrics


class Listed(NamedTuple):
    """What stands on the lists of all baskets; arrays of one length."""

    scores: NDArray[np.float32]
    """Of the blend."""
    taken: NDArray[np.bool_]
    """Whether the item is in the basket."""
    users: NDArray[np.int64]
    """Whose list it is."""


@dataclass(frozen=True)
class CandidateTable:
    """All candidates of all baskets: flat arrays of one length, sorted by basket."""

    baskets: Baskets
    basket: NDArray[np.int64]
    item: NDArray[np.int64]
    """Positions in ``baskets.log.item_ids``."""
    signals: Signals
    """float32 [M] each."""
    bought: NDArray[np.bool_]
    nearest: list[NDArray[np.int64]]
    """The network's own list of each basket, as item positions."""
    quotas: NDArray[np.uint8]
    """uint8 [M]: bit n where the candidate is proposed under the n-th of the judge's quotas."""

    def under(self, number: int) -> "CandidateTable":
        """The candidates that there are under one of the judge's quotas."""
        kept = (self.quotas >> number) & 1 > 0
        if kept.all():
            return self
        signals = {
            name: getattr(self.signals, name)[kept] for name in self.signals.__struct_fields__
        }
        return replace(
            self,
            basket=self.basket[kept],
            item=self.item[kept],
            signals=Signals(**signals),
            bought=self.bought[kept],
            quotas=self.quotas[kept],
        )

    def lists(self, weights: BlendWeights) -> list[NDArray[np.int64]]:
        """The first ten of each basket by the blend."""
        return self.top(blend(weights, self.signals))

    def top(self, scores: NDArray[np.float32], length: int = CUT) -> list[NDArray[np.int64]]:
        """The first ``length`` of each basket by ``scores`` float32 [M]."""
        no_query = np.zeros(len(scores), np.float32)
        chosen = best_of_lists(
            self.basket, no_query, scores, self.item, lists=len(self.baskets), length=length
        )
        return np.split(self.item[chosen.places], chosen.ends[:-1])

    def metrics(self, weights: BlendWeights) -> TopMetrics:
        """Of the blended lists."""
        return rank_metrics(self.lists(weights), self.baskets.target_sets())

    def listed(self, weights: BlendWeights, lists: int) -> Listed:
        """The first ten of at most ``lists`` baskets, evenly spread, with their scores."""
        here = np.flatnonzero(self.basket % max(1, -(-len(self.baskets) // lists)) == 0)
        basket, scores = self.basket[here], blend(weights, self.signals)[here]
        order = np.lexsort((self.item[here], -scores, basket))
        place = np.arange(len(order)) - np.searchsorted(basket, basket)
        first = order[place < CUT]
        owners = self.baskets.log.users[self.baskets.ends - 1].astype(np.int64)
        return Listed(scores[first], self.bought[here[first]], owners[basket[first]])
