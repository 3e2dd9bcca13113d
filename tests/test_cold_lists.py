"""Who buys new items: which are new, and how lists of them are judged."""

import numpy as np
import pytest

from benchmarks.cold_lists import LENGTH, NewestPopular, NewItems, new_items, recall, unsold
from model.dataset import EventLog, next_baskets
from model.items import Item
from tests.planted import at, log_of


def shop() -> EventLog:
    """``mug-2`` and ``tea-2`` are new from day 10 on; on day 11 the first has been sold twice."""
    return log_of(
        [
            ("ann", "tea-1", at(1)), ("ben", "mug-1", at(1.1)), ("cid", "mug-1", at(1.2)),
            ("cid", "mug-2", at(10.2)), ("ann", "mug-2", at(10.3)),
            ("ann", "tea-2", at(11.4)), ("ben", "mug-2", at(11.5)),
        ]
    )  # fmt: skip


ITEMS = [
    Item(item_id=f"{name}-{number}", category=("shop", name))
    for name in ("mug", "tea")
    for number in (1, 2)
]


def bought(log: EventLog, new: NewItems) -> list[list[str]]:
    """Ids of the new items of each basket."""
    return [[log.item_ids[item] for item in new.items[targets]] for targets in new.targets]


def test_new_are_items_first_sold_in_the_judged_days_and_their_buyers_are_asked() -> None:
    log = shop()
    new = new_items(log, next_baskets(log, at(10), at(12)), at(10), at(12))
    assert sorted(log.item_ids[item] for item in new.items) == ["mug-2", "tea-2"]
    users = [log.user_ids[log.users[end - 1]] for end in new.baskets.ends]
    assert list(zip(users, bought(log, new), strict=True)) == [
        ("ann", ["mug-2"]), ("ann", ["tea-2"]), ("ben", ["mug-2"]), ("cid", ["mug-2"]),
    ]  # fmt: skip
    assert not len(new_items(log, new.baskets, at(12), at(13)).baskets)


def test_what_was_sold_by_midnight_is_no_longer_without_a_sale() -> None:
    log = shop()
    new = unsold(log, new_items(log, next_baskets(log, at(10), at(12)), at(10), at(12)))
    assert bought(log, new) == [["mug-2"], ["tea-2"], ["mug-2"]]


def test_recall_is_the_share_of_a_basket_among_the_first_fifty_that_may_be_listed() -> None:
    count = LENGTH + 2
    baskets = next_baskets(shop(), at(11), at(12))
    targets = [np.array([0]), np.array([1, count - 1])]
    listed = np.ones((2, count), np.bool_)
    new = NewItems(np.arange(count), baskets, targets, listed)
    falling = -np.arange(count, dtype=np.float64)
    assert recall(new, [falling, falling]) == pytest.approx((1 + 1 / 2) / 2)
    listed[1, 2:5] = False
    assert recall(new, [falling, falling]) == 1.0


def test_the_baseline_puts_the_users_own_categories_first_and_then_what_is_popular() -> None:
    log = shop()
    new = new_items(log, next_baskets(log, at(11), at(12)), at(10), at(12))
    mug, tea = np.argsort([log.item_ids[item] for item in new.items])
    baseline = NewestPopular(log, ITEMS, 14)
    assert baseline.levels == 2
    for by_share in (False, True):
        # Ben has bought a mug alone, Ann a tea too, and mugs are the more popular.
        ann, ben = baseline.scores(new, 1, by_share)
        assert ben[mug] > ben[tea]
        assert ann[mug] > ann[tea]
    for alike in baseline.scores(new, 0, False):
        assert alike[mug] > alike[tea], "of one category the more popular"


def test_where_it_counts_as_the_newest_an_unsold_item_comes_before_its_sold_siblings() -> None:
    rows = [("ann", "mug-1", at(1)), ("ann", "mug-2", at(10.2)), ("ann", "mug-3", at(11.5))]
    log = log_of(rows)
    items = [Item(item_id=item, category=("mug",)) for _, item, _ in rows]
    new = new_items(log, next_baskets(log, at(11), at(12)), at(10), at(12))
    sold, unsold_yet = np.argsort([log.item_ids[item] for item in new.items])
    baseline = NewestPopular(log, items, 14)
    (plain,) = baseline.scores(new, 0, by_share=False)
    (other,) = baseline.scores(new, 0, by_share=False, unsold_first=True)
    assert plain[sold] > plain[unsold_yet]
    assert other[unsold_yet] > other[sold]
