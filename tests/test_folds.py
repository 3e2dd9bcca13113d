"""Folds of time: what each learns from and is judged on, and that the test is in none."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from model.dataset import PURCHASE, Baskets, EventLog, split_by_time
from model.features import DAY_MS
from model.folds import expanding_folds
from model.search_log import SearchLog
from tests.planted import CLICK, FIRST_DAY, at, log_of, succession, wishing_shop

DAYS = 40
"""Of the log of a succession."""
TEST_DAYS = 3
TEST_FROM = at(DAYS - 1 - TEST_DAYS)
"""The midnight at which the test begins: the days before the last one count."""


def rows_of(log: EventLog) -> list[tuple[str, str, int]]:
    """(user, item, epoch ms), whatever the codes."""
    return sorted(
        (log.user_ids[user], log.item_ids[item], time)
        for user, item, time in zip(
            log.users.tolist(), log.items.tolist(), log.times.tolist(), strict=True
        )
    )


def poisoned(log: EventLog, since: int) -> EventLog:
    """From ``since`` on another log: other items, another user, other codes for all the rest."""
    later = log.times >= since
    assert 0 < later.sum() < len(log)
    rows = [("a new user", "! new item", int(log.times.max()))]
    for user, item, time in reversed(rows_of(log)):
        rows.append((user, "! new item" if time >= since and item > "item-03" else item, time))
    return log_of(rows)


def with_searches(log: EventLog) -> EventLog:
    """Everybody asks for every item half an hour before buying it; one user does nothing else."""
    window = "a user of the window"
    rows = [*rows_of(log), *((window, f"item-{day:02}", at(day)) for day in range(DAYS))]
    codes = {user: code for code, user in enumerate([*log.user_ids, window])}
    asked = sorted((codes[user], time - 1_800_000, item) for user, item, time in rows)
    searches = SearchLog(
        np.array([row[0] for row in asked], np.int32),
        np.array([row[1] for row in asked], np.int64),
        [row[2] for row in asked],
    )
    return replace(log, user_ids=list(codes), searches=searches)


def searches_of(log: EventLog) -> list[tuple[str, int, str]]:
    """(user, epoch ms, text), in the log's order."""
    searches = log.searches
    columns = zip(searches.users.tolist(), searches.times.tolist(), searches.texts, strict=True)
    return [(log.user_ids[user], time, text) for user, time, text in columns]


def test_each_learns_from_all_before_the_days_it_is_judged_on() -> None:
    folds = expanding_folds(succession(), 3, validation_days=4, test_days=TEST_DAYS)
    midnights = [TEST_FROM - days * DAY_MS for days in (12, 8, 4, 0)]
    assert [(fold.since, fold.until) for fold in folds] == list(pairwise(midnights))
    everything = rows_of(succession())
    for fold in folds:
        assert rows_of(fold.train) == [row for row in everything if row[2] < fold.since]
        log = fold.validation.log
        assert rows_of(log) == [row for row in everything if row[2] < fold.until]
        times = [fold.validation.time(number) for number in range(len(fold.validation))]
        assert len(times) == 30 * 4
        assert min(times) >= fold.since


def test_the_last_is_the_validation_window_of_a_training() -> None:
    log = succession()
    split = split_by_time(log, validation_days=4, test_days=TEST_DAYS)
    last = expanding_folds(log, 2, validation_days=4, test_days=TEST_DAYS)[-1]
    assert rows_of(last.train) == rows_of(split.train)

    def asked(baskets: Baskets) -> list[tuple[int, list[str]]]:
        return sorted(
            (baskets.time(number), [baskets.log.item_ids[item] for item in baskets.targets(number)])
            for number in range(len(baskets))
        )

    assert asked(last.validation) == asked(split.validation)


def test_nothing_in_them_depends_on_the_test_window() -> None:
    log = succession()
    other = poisoned(log, TEST_FROM)
    assert rows_of(other) != rows_of(log)
    for ours, theirs in zip(
        expanding_folds(log, 2, validation_days=4, test_days=TEST_DAYS),
        expanding_folds(other, 2, validation_days=4, test_days=TEST_DAYS),
        strict=True,
    ):
        for one, two in (
            (ours.train, theirs.train),
            (ours.validation.log, theirs.validation.log),
        ):
            assert (one.user_ids, one.item_ids) == (two.user_ids, two.item_ids)
            for column in ("users", "items", "kinds", "times"):
                assert np.array_equal(getattr(one, column), getattr(two, column))
        assert np.array_equal(ours.validation.ends, theirs.validation.ends)


def test_searches_before_a_fold_ends_are_in_it() -> None:
    log, other = (with_searches(each) for each in (succession(), poisoned(succession(), TEST_FROM)))
    fold = expanding_folds(log, 1, validation_days=4, test_days=TEST_DAYS)[0]
    expected = sorted(row for row in searches_of(log) if row[1] < fold.until)
    assert searches_of(fold.validation.log) == expected
    assert searches_of(fold.train) == [row for row in expected if row[1] < fold.since]
    theirs = expanding_folds(other, 1, validation_days=4, test_days=TEST_DAYS)[0]
    assert searches_of(theirs.train) == searches_of(fold.train)
    assert theirs.train.user_ids == fold.train.user_ids
    assert "a user of the window" in fold.train.user_ids


def test_what_was_told_before_a_fold_ends_is_in_it_under_the_same_users() -> None:
    log = wishing_shop(users=12)
    fold = expanding_folds(log, 1, validation_days=4, test_days=TEST_DAYS)[0]
    assert fold.train.user_ids != log.user_ids, "so that numbers are other ones"
    for name in log.user_ids:
        whole, user = log.traits, log.user_ids.index(name)
        for part, until in ((fold.train, fold.since), (fold.validation.log, fold.until)):
            told = part.traits.of(part.user_ids.index(name), at(99))
            assert told == whole.of(user, until) != whole.of(user, at(99))


def test_ids_that_only_the_test_has_are_gone() -> None:
    fold = expanding_folds(
        poisoned(succession(), TEST_FROM), 1, validation_days=4, test_days=TEST_DAYS
    )[0]
    assert "! new item" not in fold.train.item_ids
    assert "a new user" not in fold.train.user_ids
    assert len(fold.train.item_ids) == 12


@pytest.mark.parametrize(
    ("days", "count"),
    [(DAYS, 9), (DAYS, 50), (3, 1)],
    ids=["nothing to learn from", "before the log begins", "all of it is test"],
)
def test_a_log_that_is_too_short_is_told(days: int, count: int) -> None:
    log = succession(days=days)
    assert log.times.min() >= FIRST_DAY * DAY_MS
    with pytest.raises(ValueError, match="give a longer log, fewer folds or fewer days"):
        expanding_folds(log, count, validation_days=4, test_days=TEST_DAYS)


def test_an_empty_log_is_told() -> None:
    empty = succession().before(0)
    assert len(empty) == 0
    with pytest.raises(ValueError, match="fewer folds"):
        expanding_folds(empty, 1, validation_days=4, test_days=TEST_DAYS)


def test_the_test_window_does_not_say_what_is_predicted() -> None:
    clicks = replace(succession(), kinds=np.full(len(succession()), CLICK, np.uint8))
    later = clicks.times >= TEST_FROM
    log = replace(clicks, kinds=np.where(later, PURCHASE, CLICK).astype(np.uint8))
    folds = expanding_folds(log, 2, validation_days=4, test_days=TEST_DAYS)
    assert [fold.validation.target_kind for fold in folds] == [CLICK, CLICK]
    # Nor does one fold: all have the kind that the days before the test say.
    bought = clicks.times >= TEST_FROM - DAY_MS
    log = replace(clicks, kinds=np.where(bought, PURCHASE, CLICK).astype(np.uint8))
    with pytest.raises(ValueError, match="fewer folds or fewer days"):
        expanding_folds(log, 2, validation_days=4, test_days=TEST_DAYS)
