"""Logs and splits: nothing of a basket, nor of what came later, is in its history."""

import numpy as np
import pytest

from model.dataset import PROFILE_PURCHASES, PURCHASE, EventLog, next_baskets, split_by_time
from model.features import FIRST_ITEM, PADDING, Vocabulary, featurize
from model.ids import item_hashes
from model.windows import TrainingWindows
from tests.planted import CLICK, FIRST_DAY, at, log_of, log_of_kinds, succession

FOREVER = at(1000)


def shop() -> EventLog:
    """Two users; the rows are given out of order."""
    return log_of(
        [
            ("ann", "milk", at(1)),
            ("bob", "milk", at(0)),
            ("ann", "eggs", at(0)),
            ("ann", "wine", at(1)),
            ("bob", "wine", at(3)),
            ("ann", "milk", at(2.5)),
        ]
    )


def names(log: EventLog, items: np.ndarray) -> set[str]:
    return {log.item_ids[item] for item in items}


def test_a_log_is_sorted_by_user_and_time() -> None:
    log = shop()
    assert [log.user_ids[user] for user in log.users] == ["ann"] * 4 + ["bob"] * 2
    assert [log.item_ids[item] for item in log.items] == [
        "eggs", "milk", "wine", "milk", "milk", "wine",
    ]  # fmt: skip
    assert log.first_rows.tolist() == [0, 4, 6]
    assert log.hashes.tolist() == item_hashes(log.item_ids).tolist()


def test_before_keeps_codes_and_drops_what_is_later() -> None:
    log = shop().before(at(1))
    assert len(log) == 2
    assert log.item_ids == shop().item_ids
    assert log.positions_of(item_hashes(["wine"])).tolist() == [log.item_ids.index("wine")]


def test_a_basket_is_what_was_bought_at_one_moment_and_its_history_ends_before() -> None:
    log = shop()
    baskets = next_baskets(log, at(0.5), FOREVER)
    found = [
        (names(log, baskets.targets(number)), len(baskets.interactions(number).items))
        for number in range(len(baskets))
    ]
    assert found == [({"milk", "wine"}, 1), ({"milk"}, 3), ({"wine"}, 1)]
    assert baskets.target_sets() == [set(baskets.targets(n).tolist()) for n in range(3)]
    assert [baskets.time(n) for n in range(3)] == [at(1), at(2.5), at(3)]
    assert [baskets.as_of(n) for n in range(3)] == [at(0), at(1), at(0)]


def test_a_first_basket_has_no_history_and_is_its_own_moment() -> None:
    baskets = next_baskets(shop(), at(0), at(0.5))
    assert len(baskets) == 2
    assert not len(baskets.interactions(0).items)
    assert not len(baskets.purchases(0).items)
    assert baskets.as_of(0) == baskets.time(0)


def test_clicks_are_history_and_no_basket_unless_there_is_nothing_else() -> None:
    clicks = log_of([("ann", "milk", at(0)), ("ann", "eggs", at(1))], kind=CLICK)
    assert len(next_baskets(clicks, 0, FOREVER)) == 2
    both = EventLog.from_columns(
        np.zeros(3, np.int32), np.array([0, 1, 0], np.int32), np.array([CLICK, CLICK, 5], np.uint8),
        np.array([at(0), at(2), at(2)]), ["ann"], ["milk", "eggs"],
    )  # fmt: skip
    baskets = next_baskets(both, 0, FOREVER)
    assert [baskets.targets(n).tolist() for n in range(len(baskets))] == [[0]]
    assert baskets.interactions(0).kinds.tolist() == [CLICK]


def test_purchases_are_distinct_by_day_newest_first_and_bounded() -> None:
    rows = [("ann", "milk", at(0.1)), ("ann", "milk", at(0.2)), ("ann", "eggs", at(1))]
    kept = log_of(rows).purchases(0, 3)
    assert kept.days.tolist() == [FIRST_DAY + 1, FIRST_DAY]
    assert kept.items.tolist() == item_hashes(["eggs", "milk"]).tolist()
    many = log_of([("ann", f"item-{n % 7}", at(n)) for n in range(PROFILE_PURCHASES + 50)])
    kept = many.purchases(0, len(many))
    assert len(kept.days) == PROFILE_PURCHASES
    assert kept.days.min() == FIRST_DAY + 50
    assert len(many.purchase_days(0, len(many), None)[0]) == PROFILE_PURCHASES + 50


def test_a_split_begins_at_midnights_and_shares_nothing() -> None:
    split = split_by_time(succession(days=40), validation_days=5, test_days=4)
    validation, test = split.validation, split.test
    assert split.train.times.max() < at(30)
    assert {validation.time(n) // 86_400_000 for n in range(len(validation))} == set(
        range(FIRST_DAY + 30, FIRST_DAY + 35)
    )
    assert {test.time(n) // 86_400_000 for n in range(len(test))} == set(
        range(FIRST_DAY + 35, FIRST_DAY + 40)
    )


def test_the_test_window_does_not_say_what_is_predicted() -> None:
    clicks = [(f"u{user}", f"item-{day}", at(day), CLICK) for user in range(3) for day in range(9)]
    bought = [(f"u{user}", "item-0", at(8.5), PURCHASE) for user in range(3)]
    split = split_by_time(log_of_kinds([*clicks, *bought]), validation_days=2, test_days=2)
    assert split.validation.target_kind == split.test.target_kind == CLICK
    assert [split.test.log.item_ids[item] for item in split.test.targets(2)] == ["item-8"]
    assert (len(split.validation), len(split.test)) == (6, 9)
    earlier = log_of_kinds([*clicks, *bought, ("u0", "item-0", at(0.5), PURCHASE)])
    with pytest.raises(ValueError, match="nothing to validate on"):
        split_by_time(earlier, validation_days=2, test_days=2)


@pytest.mark.parametrize(("size", "count"), [(0, 3), (1, 3), (3, 3), (10, 3), (10, 1)])
def test_some_of_the_baskets_are_evenly_spread(size: int, count: int) -> None:
    log = log_of([("ann", f"item-{day}", at(day)) for day in range(12)])
    baskets = next_baskets(log, at(2), at(2 + size))
    some = baskets.spread(count)
    assert len(some) == min(size, count)
    places = (some.history_ends - 2).tolist()
    assert places == {(10, 3): [0, 4, 9], (10, 1): [0]}.get((size, count), list(range(size)))


@pytest.mark.parametrize(("days", "what"), [((40, 4), "train"), ((5, 0), None)])
def test_a_split_with_an_empty_part_is_refused(days: tuple[int, int], what: str | None) -> None:
    log = succession(days=40)
    if what is None:
        assert len(split_by_time(log, validation_days=days[0], test_days=days[1]).test)
        return
    with pytest.raises(ValueError, match=f"nothing to {what} on.*give a longer log or fewer days"):
        split_by_time(log, validation_days=days[0], test_days=days[1])


LENGTH = 7


@pytest.mark.parametrize("stride", [1, 3, LENGTH])
def test_windows_teach_each_next_basket_once_from_the_history_that_serving_sees(
    stride: int,
) -> None:
    log = log_of([(f"u{user}", f"{user}-{day}", at(day)) for user in range(3) for day in range(9)])
    vocabulary = Vocabulary(log.item_ids)
    windows = TrainingWindows(log, vocabulary, LENGTH, stride)
    learned: dict[int, list[int]] = {}
    for pending in windows.batches(4, np.random.default_rng(1)):
        batch = pending.make()
        flat = batch.features.items.ravel()
        for state, row in zip(batch.target_state, batch.target_row.tolist(), strict=True):
            position = batch.positions[state]
            seen = flat[position // LENGTH * LENGTH : position + 1]
            assert row not in learned
            learned[row] = seen[seen != PADDING].tolist()
    baskets = next_baskets(log, at(1), FOREVER)
    assert len(learned) == len(baskets) == 24
    for number in range(len(baskets)):
        served = featurize([baskets.interactions(number)], vocabulary, LENGTH).items[0]
        served = served[served != PADDING]
        seen_then = learned[FIRST_ITEM + int(baskets.targets(number)[0])]
        # A window may begin later than a profile does, never end elsewhere.
        least = min(len(served), LENGTH - stride + 1)
        assert len(seen_then) >= least
        assert seen_then == served[-len(seen_then) :].tolist()


def test_a_stride_longer_than_a_window_is_refused() -> None:
    log = succession(users=1, days=3)
    with pytest.raises(ValueError, match="stride 8 is longer than the window of 7"):
        TrainingWindows(log, Vocabulary(log.item_ids), 7, 8)


def test_the_weights_of_a_basket_sum_to_one_and_its_order_is_shuffled() -> None:
    rows = [("ann", f"item-{n}", at(day)) for day in range(3) for n in range(6)]
    log = log_of(rows)
    windows = TrainingWindows(log, Vocabulary(log.item_ids), length=20, stride=20)
    orders = set()
    for epoch in range(5):
        items = []
        for pending in windows.batches(8, np.random.default_rng(epoch)):
            batch = pending.make()
            assert batch.weight.sum() == pytest.approx(len(batch.positions))
            items += [batch.features.items[-1].tolist()]
        orders.add(str(items))
    assert len(orders) > 1
    assert windows.target_counts().tolist() == [0, 0, 3, 3, 3, 3, 3, 3]
