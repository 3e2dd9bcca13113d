"""Counts by hand: popularity, a user's own habits, and what is bought together."""

import numpy as np
import pytest

from model.baselines import CoVisits, DecayedPopularity, FrequentThenPopular, MostPopular
from model.dataset import EventLog, next_baskets
from model.events import INTERACTION_KINDS, Click
from model.signals import NEIGHBOURS
from tests.planted import at, log_of

MINUTE = 60_000


def named(log: EventLog, items: np.ndarray) -> list[str]:
    return [log.item_ids[item] for item in items]


def test_popular_is_what_sold_in_the_last_days_and_never_later() -> None:
    log = log_of(
        [
            *[(f"u{n}", "old", at(-40)) for n in range(9)],
            *[(f"u{n}", "milk", at(-5)) for n in range(3)],
            *[(f"u{n}", "eggs", at(-1)) for n in range(2)],
            *[(f"u{n}", "future", at(0)) for n in range(9)],
        ]
    )
    popular = MostPopular(log)
    assert named(log, popular.top(at(0.5), 10)) == ["milk", "eggs"]
    assert named(log, popular.top(at(0.5), 1)) == ["milk"]
    assert named(log, popular.top(at(-30), 10)) == ["old"]
    assert named(log, MostPopular(log, days=3).top(at(0.5), 10)) == ["eggs"]


def test_popular_lists_are_those_of_each_basket_s_day() -> None:
    rows = [("ann", "milk", at(0)), ("bob", "milk", at(0)), ("bob", "eggs", at(1))]
    log = log_of([*rows, ("ann", "wine", at(2))])
    baskets = next_baskets(log, at(1), at(3))
    lists = MostPopular(log).rank(baskets)
    by_time = {baskets.time(n): named(log, lists[n]) for n in range(2)}
    assert by_time == {at(1): ["milk"], at(2): ["milk", "eggs"]}


def habits() -> EventLog:
    """Ann buys milk on three days, eggs on one and twice that day; others like wine."""
    return log_of(
        [
            *[("ann", "milk", at(day)) for day in range(3)],
            ("ann", "eggs", at(3)),
            ("ann", "eggs", at(3.1)),
            ("ann", "tea", at(3)),
            *[(f"u{n}", "wine", at(2)) for n in range(5)],
            *[(f"u{n}", "tea", at(2)) for n in range(2)],
            ("ann", "cheese", at(4)),
        ]
    )


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (None, ["milk", "tea", "eggs", "wine"]),
        # The two newest (day, item) pairs are both of day 3.
        (2, ["tea", "eggs", "wine", "milk"]),
    ],
)
def test_own_habits_come_first_by_days_then_by_popularity(
    kept: int | None, expected: list[str]
) -> None:
    log = habits()
    baskets = next_baskets(log, at(4), at(5))
    (own,) = FrequentThenPopular(log, kept).rank(baskets)
    assert named(log, own) == expected
    (short,) = FrequentThenPopular(log, kept).rank(baskets, count=2)
    assert named(log, short) == expected[:2]


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (None, ["milk", "eggs", "tea", "wine"]),
        # Of the two newest clicks each is one of its item.
        (2, ["tea", "milk", "wine", "eggs"]),
    ],
)
def test_where_nothing_is_sold_habits_are_what_was_clicked_most(
    kept: int | None, expected: list[str]
) -> None:
    clicked = ["milk", "eggs", "milk", "eggs", "milk", "tea"]
    rows = [("ann", item, at(3) + minute * MINUTE) for minute, item in enumerate(clicked)]
    others = [(f"u{n}", "wine", at(2)) for n in range(5)]
    log = log_of([*rows, *others, ("ann", "cheese", at(4))], kind=INTERACTION_KINDS[Click])
    (own,) = FrequentThenPopular(log, kept).rank(next_baskets(log, at(4), at(5)), count=4)
    assert named(log, own) == expected


def test_a_stranger_gets_what_is_popular() -> None:
    log = log_of([("ann", "milk", at(0)), ("bob", "wine", at(1))])
    (own,) = FrequentThenPopular(log).rank(next_baskets(log, at(1), at(2)))
    assert named(log, own) == ["milk"]


def test_popularity_halves() -> None:
    log = log_of([("ann", "milk", at(0)), ("bob", "milk", at(10)), ("bob", "eggs", at(20))])
    popularity = DecayedPopularity(log, half_life_days=10)
    counts = dict(zip(log.item_ids, popularity.counts(at(20.5)).tolist(), strict=True))
    assert counts == pytest.approx({"milk": 0.25 + 0.5, "eggs": 0.0})
    assert named(log, popularity.top(at(20.5), 5)) == ["milk"]
    assert named(log, popularity.top(at(21), 5)) == ["eggs", "milk"]


def together(log: EventLog, half_life_days: float = 10) -> CoVisits:
    return CoVisits(log, half_life_days, at(0), at(30))


def near(log: EventLog, co_visits: CoVisits, item: str, time: int) -> dict[str, float]:
    items, weights = co_visits.of([log.item_ids.index(item)], time)
    return dict(zip(named(log, items), weights.tolist(), strict=True))


def test_pairs_are_of_one_user_within_half_an_hour_and_of_different_items() -> None:
    log = log_of(
        [
            ("ann", "milk", at(0)),
            ("ann", "eggs", at(0) + 30 * MINUTE),
            ("ann", "wine", at(0) + 31 * MINUTE),
            ("ann", "wine", at(0) + 32 * MINUTE),
            ("bob", "tea", at(0)),
        ]
    )
    found = together(log)
    assert set(near(log, found, "milk", at(1))) == {"eggs"}
    assert set(near(log, found, "eggs", at(1))) == {"milk", "wine"}
    assert set(near(log, found, "wine", at(1))) == {"eggs"}
    assert near(log, found, "tea", at(1)) == {}
    eggs = near(log, found, "eggs", at(1))
    assert eggs["wine"] == pytest.approx(2 * eggs["milk"], rel=1e-3)


def test_pairs_decay_and_those_of_the_day_itself_do_not_count_yet() -> None:
    log = log_of([("ann", "milk", at(0.5)), ("ann", "eggs", at(0.5))])
    found = together(log)
    assert near(log, found, "milk", at(0.9)) == {}
    assert near(log, found, "milk", at(1))["eggs"] == pytest.approx(2**-0.05)
    assert near(log, found, "milk", at(11))["eggs"] == pytest.approx(2**-1.05)


def test_a_basket_pairs_everything_in_it() -> None:
    log = log_of([("ann", f"item-{n}", at(1)) for n in range(7)])
    found = together(log)
    for n in range(7):
        weights = near(log, found, f"item-{n}", at(2))
        assert set(weights) == {f"item-{other}" for other in range(7) if other != n}
        assert len({round(weight, 9) for weight in weights.values()}) == 1


def test_only_the_strongest_neighbours_are_kept() -> None:
    rows = []
    for n in range(NEIGHBOURS + 10):
        for user in range(2 if n < NEIGHBOURS else 1):
            time = at(0) + n * 60 * MINUTE
            rows += [(f"u{user}-{n}", "milk", time), (f"u{user}-{n}", f"item-{n}", time)]
    log = log_of(rows)
    found = near(log, together(log), "milk", at(4))
    assert set(found) == {f"item-{n}" for n in range(NEIGHBOURS)}


def test_a_log_without_pairs_has_no_neighbours() -> None:
    log = log_of([("ann", "milk", at(0))])
    assert near(log, together(log), "milk", at(1)) == {}
    items, weights = together(log).of([], at(1))
    assert len(items) == len(weights) == 0
