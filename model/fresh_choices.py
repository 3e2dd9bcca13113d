"""Who took which little known item of a log, and the weights of ``model.fresh_score`` by it.

What could be taken is what the source ``fresh`` looks at, as of the midnight before a basket. A log
does not tell what is in the catalogue and has not sold yet, unless items say since when they are
there: weights that were learned from what has sold may pass over what is newest. So they have to
find the buyers of new items too, better than the default weights, or these stand.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.baselines import DecayedPopularity
from model.dataset import Baskets, spread_numbers
from model.features import DAY_MS
from model.fresh_fit import Choices, fitted_fresh_weights
from model.fresh_log import FreshOfLog
from model.fresh_score import COMPARED, FreshWeights, fresh_scores
from model.intervals import ERRORS, mean_and_error
from model.log_catalogue import LogCatalogue

BASKETS = 1_000
"""Four weights are known to a few percent from so many."""
MOST_ITEMS = 2 * COMPARED
"""Of more, some are drawn: a logit is the same on any part of what can be taken (McFadden 1978)."""
LEAST_TAKEN = 50
"""Of fewer the weights would be chance: the defaults stand."""
DEPTH = 50
"""Of a list of new items, that is looked through for what was taken."""
SEED = 7


class FittedFresh(NamedTuple):
    """The weights that serve, and what they were chosen by."""

    weights: FreshWeights
    """Those that were learned, or the defaults."""
    learned: FreshWeights
    baskets: int
    taken: int
    """Little known items in these."""
    recall: tuple[float, float]
    """Of new items among themselves, by the default weights and by those that were learned."""


class _Asked(NamedTuple):
    """Baskets, the items that are ordered for them, and who took what."""

    baskets: Baskets
    items: NDArray[np.int64]
    choices: Choices


def fresh_weights_of(
    baskets: Baskets, catalogue: LogCatalogue, popularity_half_life_days: float
) -> FittedFresh:
    """The weights under which the little known items in these baskets are likeliest to be there,
    where they also find the buyers of new items; else the defaults.

    They do where of the items first known in the days of the baskets, all of which are ordered for
    every buyer, more of what he takes is among the first 50 than by the defaults, by more than two
    standard errors.

    Args:
        baskets: to learn from, at most ``BASKETS`` of those that hold such an item.
        catalogue: of their log.
        popularity_half_life_days: of popularity.
    """
    popular = DecayedPopularity(catalogue.log, popularity_half_life_days)
    fresh = FreshOfLog(catalogue, popular.counts)
    default = FreshWeights()
    asked = _little_known(fresh, baskets)
    taken = sum(map(len, asked.choices.targets))
    if taken < LEAST_TAKEN:
        return FittedFresh(default, default, len(asked.baskets), taken, (0.0, 0.0))
    learned = fitted_fresh_weights(
        lambda smoothing: fresh.signals(asked.baskets, asked.items, smoothing), asked.choices
    )
    new = _new(catalogue, baskets)
    if not len(new.baskets):
        return FittedFresh(default, learned, len(asked.baskets), taken, (0.0, 0.0))
    before, after = (_recall(fresh, new, each) for each in (default, learned))
    gain, error = mean_and_error(after - before)
    finds_more = gain > ERRORS * error
    return FittedFresh(
        learned if finds_more else default, learned, len(asked.baskets), taken,
        (float(before.mean()), float(after.mean())),
    )  # fmt: skip


def _little_known(fresh: FreshOfLog, baskets: Baskets) -> _Asked:
    """What the source looks at, and the baskets that hold some of it."""
    days = _days(baskets)
    on_day = {day: fresh.little_known(day) for day in np.unique(days).tolist()}
    items = _some(np.unique(np.concatenate([*on_day.values()])))
    held = {day: np.isin(items, each) for day, each in on_day.items()}
    return _asked(baskets, items, np.array([held[day] for day in days.tolist()]))


def _new(catalogue: LogCatalogue, baskets: Baskets) -> _Asked:
    """Items first known in the days of the baskets, as if all of them were there all along."""
    first, last = (int(each) * DAY_MS for each in (_days(baskets).min(), _days(baskets).max() + 1))
    since = catalogue.known_since
    items = _some(np.flatnonzero((since >= first) & (since < last)))
    return _asked(baskets, items, np.ones((len(baskets), len(items)), np.bool_))


def _asked(baskets: Baskets, items: NDArray[np.int64], listed: NDArray[np.bool_]) -> _Asked:
    """The baskets, at most ``BASKETS``, that hold items which may be listed for them."""
    targets = [
        np.flatnonzero(np.isin(items, baskets.targets(number)) & listed[number])
        for number in range(len(baskets))
    ]
    telling = np.array([number for number, each in enumerate(targets) if len(each)], np.int64)
    telling = telling[spread_numbers(len(telling), BASKETS)]
    taken = [targets[number] for number in telling.tolist()]
    return _Asked(baskets.take(telling), items, Choices(taken, listed[telling]))


def _recall(fresh: FreshOfLog, new: _Asked, weights: FreshWeights) -> NDArray[np.float64]:
    """The share of each basket's new items that is among the first ``DEPTH``."""
    scores = fresh_scores(weights, fresh.signals(new.baskets, new.items, weights.smoothing))
    best = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    found = zip(new.choices.targets, best, strict=True)
    return np.array([np.isin(targets, each).mean() for targets, each in found])


def _some(items: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most ``MOST_ITEMS``, in random order: a log names them by their first sales."""
    return np.random.default_rng(SEED).permutation(items)[:MOST_ITEMS]


def _days(baskets: Baskets) -> NDArray[np.int64]:
    return np.array([baskets.time(number) // DAY_MS for number in range(len(baskets))], np.int64)
