"""Who took which little known item of a log, and the weights of ``model.fresh_score`` by it."""

from typing import NamedTuple

import numpy as np

from model.baselines import DecayedPopularity
from model.dataset import Baskets
from model.features import DAY_MS
from model.fresh_fit import Choices, fitted_fresh_weights
from model.fresh_log import FreshOfLog
from model.fresh_score import COMPARED, FreshWeights
from model.log_catalogue import LogCatalogue

BASKETS = 1_000
"""Four weights are known to a few percent from so many."""
MOST_ITEMS = 2 * COMPARED
"""Of more, some are drawn: a logit is the same on any part of what can be taken (McFadden 1978)."""
LEAST_TAKEN = 50
"""Of fewer the weights would be chance: the defaults stand."""
SEED = 7


class FittedFresh(NamedTuple):
    """The weights, and what they were learned from."""

    weights: FreshWeights
    baskets: int
    taken: int
    """Little known items in these."""


def fresh_weights_of(
    baskets: Baskets, catalogue: LogCatalogue, popularity_half_life_days: float
) -> FittedFresh:
    """The weights under which the little known items in these baskets are likeliest to be there.

    What could be taken is what the source ``fresh`` looks at, as of the midnight before a basket.

    Args:
        baskets: to learn from, at most ``BASKETS`` of those that hold such an item.
        catalogue: of their log.
        popularity_half_life_days: of popularity.
    """
    popular = DecayedPopularity(catalogue.log, popularity_half_life_days)
    fresh = FreshOfLog(catalogue, popular.counts)
    days = np.array([baskets.time(number) // DAY_MS for number in range(len(baskets))], np.int64)
    on_day = {day: fresh.little_known(day) for day in np.unique(days).tolist()}
    items = np.unique(np.concatenate([*on_day.values()]))
    if len(items) > MOST_ITEMS:
        chance = np.random.default_rng(SEED)
        items = np.sort(chance.choice(items, MOST_ITEMS, replace=False))
    held = {day: np.isin(items, each) for day, each in on_day.items()}
    telling: list[int] = []
    for number, day in enumerate(days.tolist()):
        if np.isin(baskets.targets(number), items[held[day]]).any():
            telling.append(number)
    if not telling:
        return FittedFresh(FreshWeights(), 0, 0)
    asked = baskets.take(np.array(telling, np.int64)).spread(BASKETS)
    listed = np.stack([held[asked.time(number) // DAY_MS] for number in range(len(asked))])
    targets = [
        np.flatnonzero(np.isin(items, asked.targets(number)) & listed[number])
        for number in range(len(asked))
    ]
    taken = sum(map(len, targets))
    if taken < LEAST_TAKEN:
        return FittedFresh(FreshWeights(), len(asked), taken)
    weights = fitted_fresh_weights(
        lambda smoothing: fresh.signals(asked, items, smoothing), Choices(targets, listed)
    )
    return FittedFresh(weights, len(asked), taken)
