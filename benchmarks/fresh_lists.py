"""Lists of new items by the formula of the source of fresh items, weights fitted and not.

    python -m benchmarks.fresh_lists --dataset complete_journey --users 4
    python -m benchmarks.fresh_lists --dataset online_retail --data DIR

The part of ``benchmarks.temporal`` that needs no network. Weights and the level of the baseline's
categories are chosen on the 14 days before the last 28, which are judged once.

The items of a log are those that sell: one that nobody has bought by the day of a basket will sell
in the days that are left, and is more often in the basket than one that has sold a little. What a
worker serves does not know that; where it is said to both, the figures are called "unsold first".
"""

import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.cold_lists import NewestPopular, NewItems, new_items, recall, unsold
from benchmarks.temporal_data import TEST_DAYS, VALIDATION_DAYS, parsed, read, shop_parser
from model.baselines import DecayedPopularity
from model.dataset import EventLog, Split, cut_times, split_by_time
from model.fresh_fit import Choices, fitted_fresh_weights
from model.fresh_log import FreshOfLog
from model.fresh_score import FreshSignals, FreshWeights, fresh_scores
from model.items import Item
from model.log_catalogue import LogCatalogue

BASELINE, SERVED = "newest popular in category", "as served by fresh"
FITTED = "by fresh, weights fitted"
"""To the new items of the validation days. What a bundle gets is learned from all little known
items by ``model.fresh_choices``, and the defaults where those find more."""


class FreshLists:
    """New items by what sells now and what the user takes, as a worker orders them.

    Args:
        log: all rows.
        items: the catalogue.
        half_life_days: of popularity.
    """

    def __init__(self, log: EventLog, items: Sequence[Item], half_life_days: float) -> None:
        popular = DecayedPopularity(log, half_life_days)
        self._fresh = FreshOfLog(LogCatalogue(log, items), popular.counts)

    def signals(self, new: NewItems, smoothing: float) -> FreshSignals:
        """Of all baskets, each as of the midnight before it."""
        return self._fresh.signals(new.baskets, new.items, smoothing)

    def fitted(self, new: NewItems, *, unsold: bool) -> FreshWeights:
        """The weights under which these baskets are likeliest, see ``fitted_fresh_weights``."""
        choices = Choices(new.targets, new.listed)
        return fitted_fresh_weights(
            lambda smoothing: self.signals(new, smoothing), choices, unsold=unsold
        )

    def scores(self, new: NewItems, weights: FreshWeights) -> Iterable[NDArray[np.float32]]:
        """Of the new items, for each basket."""
        return fresh_scores(weights, self.signals(new, weights.smoothing))


def fresh_report(
    log: EventLog,
    items: Sequence[Item],
    split: Split,
    *,
    days: tuple[int, int],
    half_life_days: float,
    most: int,
) -> dict[str, Any]:
    """Recall@50 of new items beside the baseline's.

    Args:
        log: all rows.
        items: the catalogue.
        split: of it.
        days: of the validation and of the test.
        half_life_days: of popularity.
        most: at most so many baskets of either.
    """
    validation_from, test_from = cut_times(log, *days)
    end = int(log.times.max()) + 1
    chosen_on = new_items(log, split.validation, validation_from, test_from)
    judged = new_items(log, split.test, test_from, end)
    lists = FreshLists(log, items, half_life_days)
    newest = NewestPopular(log, items, half_life_days)
    report: dict[str, Any] = {"new": len(judged.items), "new_in_validation": len(chosen_on.items)}
    for name, validation, test, unsold_first in (
        ("live counts", chosen_on, judged, False),
        ("live counts, unsold first", chosen_on, judged, True),
        ("without a sale by then", unsold(log, chosen_on), unsold(log, judged), False),
    ):
        report[name] = _compared(
            lists, newest, validation.spread(most), test.spread(most), unsold_first
        )
    report["live counts, fitted unsold first / newest popular in category"] = (
        report["live counts, unsold first"][FITTED] / report["live counts"][BASELINE]
    )
    return report


def _compared(
    lists: FreshLists, newest: NewestPopular, chosen_on: NewItems, judged: NewItems, first: bool
) -> dict[str, Any]:
    def baseline(new: NewItems, level: int) -> float:
        return recall(new, newest.scores(new, level, by_share=False, unsold_first=first))

    tried = [baseline(chosen_on, level) for level in range(newest.levels)]
    weights = lists.fitted(chosen_on, unsold=first)
    of_baseline = baseline(judged, tried.index(max(tried)))
    fitted = recall(judged, lists.scores(judged, weights))
    return {
        "baskets": len(judged.baskets),
        f"validation: {BASELINE}": max(tried),
        f"validation: {FITTED}": recall(chosen_on, lists.scores(chosen_on, weights)),
        BASELINE: of_baseline,
        SERVED: recall(judged, lists.scores(judged, FreshWeights())),
        FITTED: fitted,
        f"{FITTED} / {BASELINE}": fitted / of_baseline,
        "weights": msgspec.to_builtins(weights),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge and print one JSON object."""
    parser = shop_parser(__doc__)
    parser.add_argument("--users", type=int, default=1, help="one of so many is in the log at all")
    parser.add_argument("--baskets", type=int, default=1_000, help="at most so many are judged")
    parser.add_argument("--half-life-days", type=float, default=14.0, help="of popularity")
    asked = parsed(parser, arguments)
    spent, days = time.process_time(), (VALIDATION_DAYS, TEST_DAYS)
    log, items = read(asked.dataset, asked.data)
    log = some_users(log, asked.users)
    split = split_by_time(log, validation_days=days[0], test_days=days[1])
    report = fresh_report(
        log, items, split, days=days, half_life_days=asked.half_life_days, most=asked.baskets
    )
    seconds = round(time.process_time() - spent, 1)
    report = {**vars(asked), "data": None, **report, "processor_seconds": seconds}
    sys.stdout.write(json.dumps(report, indent=1) + "\n")


def some_users(log: EventLog, one_of: int) -> EventLog:
    """The log of every ``one_of``-th user, and of the items that these have bought."""
    kept = log.users % one_of == 0
    users, user_codes = np.unique(log.users[kept], return_inverse=True)
    items, item_codes = np.unique(log.items[kept], return_inverse=True)
    return EventLog.from_columns(
        user_codes.astype(np.int32), item_codes.astype(np.int32), log.kinds[kept], log.times[kept],
        [log.user_ids[user] for user in users.tolist()],
        [log.item_ids[item] for item in items.tolist()],
    )  # fmt: skip


if __name__ == "__main__":
    main()
