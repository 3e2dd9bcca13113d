"""Hit@10 and NDCG@10 of lists against what was taken, of each basket and on average."""

from collections.abc import Collection, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CUT = 10
Ranking = Sequence[Hashable] | NDArray[np.int64]


class TopMetrics(NamedTuple):
    """Means over baskets."""

    hit: float
    """Share of baskets of which at least one item is among the first ten."""
    ndcg: float
    """Discounted gain of the first ten over the best possible (binary gains, log2 discount)."""
    baskets: int

    def named(self) -> dict[str, float]:
        """For the manifest."""
        return {"hit@10": self.hit, "ndcg@10": self.ndcg, "baskets": float(self.baskets)}


def rank_metrics(lists: Sequence[Ranking], baskets: Sequence[Collection[Hashable]]) -> TopMetrics:
    """Hit@10 and NDCG@10 of lists (best first) against what was bought, pairwise.

    Raises:
        ValueError: when there is nothing to judge, or not one list for each basket.
    """
    if not len(baskets):
        raise ValueError(f"{len(lists)} lists for 0 baskets; need as many, and some")
    gains = ndcg_of_baskets(lists, baskets)
    return TopMetrics(float((gains > 0).mean()), float(gains.mean()), len(baskets))


def ndcg_of_baskets(
    lists: Sequence[Ranking], baskets: Sequence[Collection[Hashable]]
) -> NDArray[np.float64]:
    """NDCG@10 of each list, float64 [B]; 0 where nothing was bought.

    Raises:
        ValueError: when there is not one list for each basket.
    """
    if len(lists) != len(baskets):
        raise ValueError(f"{len(lists)} lists for {len(baskets)} baskets; need as many, and some")
    discounts = 1.0 / np.log2(np.arange(2, CUT + 2))
    best = np.concatenate([[0.0], np.cumsum(discounts)])
    gains = np.zeros(len(baskets))
    for number, (ranked, bought) in enumerate(zip(lists, baskets, strict=True)):
        first = ranked[:CUT].tolist() if isinstance(ranked, np.ndarray) else list(ranked[:CUT])
        found = [place for place, item in enumerate(first) if item in bought]
        if found:
            gains[number] = discounts[found].sum() / best[min(len(bought), CUT)]
    return gains
