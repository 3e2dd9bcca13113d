"""Lists of new items: which of those that nobody had bought before are whose?

New are the items whose first sale comes in the judged days. All contenders order the same ones: all
new items of the log, also those whose first sale is still to come, for they are in the catalogue
from the first judged day on. Counts are those of the midnight before each basket.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.baselines import DecayedPopularity
from model.dataset import Baskets, EventLog, spread_numbers
from model.features import DAY_MS
from model.items import Item

LENGTH = 50
ORDER_SEED = 7
POPULAR_SCALE = 0.4
POPULAR_WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0)
"""Tried for what popularity counts beside a new item's score, on the validation days."""


class NewItems(NamedTuple):
    """The new items of some days, and the baskets that hold some."""

    items: NDArray[np.int64]
    """Positions in the log's ``item_ids``, in random order."""
    baskets: Baskets
    targets: list[NDArray[np.int64]]
    """Of each basket, places in ``items``."""
    listed: NDArray[np.bool_]
    """bool [B, new items]: which may stand in the list of each basket."""

    def spread(self, count: int) -> "NewItems":
        """At most ``count`` of the baskets, evenly spread."""
        numbers = spread_numbers(len(self.baskets), count)
        targets = [self.targets[number] for number in numbers.tolist()]
        return NewItems(self.items, self.baskets.take(numbers), targets, self.listed[numbers])


def new_items(log: EventLog, baskets: Baskets, start: int, end: int) -> NewItems:
    """Items first sold from ``start`` to before ``end`` (epoch ms), and who bought them."""
    first = log.first_times
    items = np.flatnonzero((first >= start) & (first < end))
    # A log names items in the order of their first sales, which nobody may know.
    items = np.random.default_rng(ORDER_SEED).permutation(items)
    place = np.full(len(log.item_ids), -1)
    place[items] = np.arange(len(items))
    targets = [place[baskets.targets(number)] for number in range(len(baskets))]
    targets = [each[each >= 0] for each in targets]
    bought = [number for number, each in enumerate(targets) if len(each)]
    asked = baskets.take(np.array(bought, np.int64))
    listed = np.ones((len(bought), len(items)), np.bool_)
    return NewItems(items, asked, [targets[number] for number in bought], listed)


def unsold(log: EventLog, new: NewItems) -> NewItems:
    """The same with those items alone that nobody had bought by the midnight before a basket: they
    stand for items that have no interaction at all."""
    times = np.array([new.baskets.time(number) for number in range(len(new.baskets))], np.int64)
    listed = log.first_times[new.items] >= (times // DAY_MS * DAY_MS)[:, None]
    targets = [each[listed[number, each]] for number, each in enumerate(new.targets)]
    kept = np.array([number for number, each in enumerate(targets) if len(each)], np.int64)
    left = [targets[number] for number in kept.tolist()]
    return NewItems(new.items, new.baskets.take(kept), left, listed[kept])


def recall(new: NewItems, scores: Iterable[NDArray[np.floating]]) -> float:
    """Mean share of a basket's new items among the 50 best; scores [new items] of each basket.

    Of equal scores the lower place comes first, which is chance.
    """
    found = []
    for targets, listed, each in zip(new.targets, new.listed, scores, strict=True):
        best = np.argsort(np.where(listed, -each, np.inf), kind="stable")[:LENGTH]
        found.append(np.isin(targets, best).mean())
    return float(np.mean(found))


class NewestPopular:
    """What a shop without a network shows: new items of the user's own categories, the most popular
    first, of equally popular ones the newest; then new items of other categories.

    Args:
        log: all rows.
        items: the catalogue.
        half_life_days: of popularity.
    """

    def __init__(self, log: EventLog, items: Sequence[Item], half_life_days: float) -> None:
        self._log = log
        self._popular = DecayedPopularity(log, half_life_days)
        self._first = log.first_times
        paths = {item.item_id: item.category for item in items}
        self._paths = [paths.get(each, ()) for each in log.item_ids]
        self.levels = max(map(len, self._paths), default=0)

    def scores(
        self, new: NewItems, level: int, by_share: bool, *, unsold_first: bool = False
    ) -> Iterable[NDArray[np.float64]]:
        """Of the new items, for each basket.

        Args:
            new: the items and the baskets.
            level: of the categories, 0 the most general.
            by_share: whether popularity is multiplied by the category's share of what the user has
                bought, which asks more of the category than that he has bought there.
            unsold_first: whether, in a category, what has not been sold yet counts as the newest
                and comes before what is popular.
        """
        names: dict[tuple[str, ...], int] = {}
        codes = np.array([names.setdefault(path[: level + 1], len(names)) for path in self._paths])
        baskets = new.baskets
        for number in range(len(baskets)):
            time = baskets.time(number) // DAY_MS * DAY_MS
            history = slice(baskets.history_starts[number], baskets.history_ends[number])
            own = np.bincount(codes[self._log.items[history]], minlength=len(names))
            share = own[codes[new.items]] / max(int(own.sum()), 1)
            popular = self._popular.counts(time)[new.items]
            days = (time - self._first[new.items]) / DAY_MS
            # What has not been sold by then cannot be told apart: its day is not known yet.
            newest = np.where(days > 0, 1e-6 / (1 + np.maximum(days, 0)), 0.0)
            if unsold_first:
                newest = np.where(days > 0, newest, 1e5)
            if by_share:
                yield share * (1 + popular) + 1e-3 * popular + newest
            else:
                yield 1e6 * (share > 0) + popular + newest


def network_scores(
    new: NewItems,
    states: NDArray[np.float32],
    vectors: NDArray[np.float32],
    popular: DecayedPopularity,
    weight: float,
) -> Iterable[NDArray[np.float64]]:
    """The tower's scores, and what is popular by now; states [B, D + 1], vectors [N, D + 1]."""
    for number, state in enumerate(states):
        counts = popular.counts(new.baskets.time(number))[new.items]
        yield vectors @ state + weight * np.log1p(counts / POPULAR_SCALE)
