"""What each protocol asks, and that no history tells its answer."""

from dataclasses import replace

import numpy as np
import pytest

from model.dataset import Baskets, EventLog
from model.features import DAY_MS
from model.prequential import HOUR_MS
from model.protocols import (
    LEAVE_ONE_OUT,
    NEXT_BASKET,
    PREQUENTIAL,
    PROTOCOLS,
    SESSION,
    Questions,
    owners,
    questions,
    sampled,
    times,
)
from tests.planted import at, log_of

MINUTE_MS = 60_000
END = at(100)


def minutes(day: float, *after: float) -> list[int]:
    """Moments so many minutes after the beginning of a day."""
    return [at(day) + round(each * MINUTE_MS) for each in after]


def small() -> EventLog:
    """Two users; the first one's last moment holds two events."""
    first = list(zip("abcd", minutes(1, 0, 10, 45, 75), strict=True))
    rows = [("u", item, time) for item, time in first]
    rows += [("u", "e", minutes(1, 200)[0]), ("u", "f", minutes(1, 200)[0])]
    rows += [("v", "a", minutes(2, 0)[0]), ("v", "b", minutes(2, 29.9)[0])]
    return log_of(rows)


def asked_of(found: Baskets) -> list[tuple[str, str]]:
    """Each question as the items of its history and those that are right."""
    log = found.log
    return [
        (
            "".join(
                log.item_ids[item]
                for item in log.items[found.history_starts[number] : found.history_ends[number]]
            ),
            "".join(log.item_ids[item] for item in found.targets(number)),
        )
        for number in range(len(found))
    ]


def test_each_moment_is_predicted_from_what_came_before_it() -> None:
    found = questions(PREQUENTIAL, small(), 0, END)
    assert asked_of(found) == [
        ("", "a"), ("a", "b"), ("ab", "c"), ("abc", "d"), ("abcd", "ef"), ("", "a"), ("a", "b"),
    ]  # fmt: skip
    assert owners(found).tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert times(found).tolist() == [
        *minutes(1, 0, 10, 45, 75, 200), *minutes(2, 0, 29.9),
    ]  # fmt: skip


def test_a_session_ends_after_half_an_hour_without_an_event() -> None:
    # c comes 35 minutes after b, d 30 minutes after c: both begin a session.
    assert asked_of(questions(SESSION, small(), 0, END)) == [("a", "b"), ("a", "b")]


def test_a_session_that_is_named_ends_with_its_name() -> None:
    log = small()
    named = {"a": 0, "b": 1, "c": 0, "d": -1, "e": 1, "f": 1}
    sessions = np.array([named[log.item_ids[item]] for item in log.items], np.int32)
    found = questions(SESSION, replace(log, sessions=sessions), 0, END)
    # c goes on with what a began, e and f with what b began, on another day or not; the names of
    # the other user's sessions are his own. d names none: it comes half an hour after c.
    assert asked_of(found) == [("ab", "c"), ("abcd", "ef")]
    sessions[sessions < 0] = 1
    found = questions(SESSION, replace(log, sessions=sessions), 0, END)
    assert asked_of(found) == [("ab", "c"), ("abc", "d"), ("abcd", "ef")]


def test_where_no_session_is_named_pauses_tell_them_apart() -> None:
    log = small()
    unnamed = replace(log, sessions=np.full(len(log), -1, np.int32))
    assert asked_of(questions(SESSION, unnamed, 0, END)) == [("a", "b"), ("a", "b")]


def test_the_last_event_of_each_user_from_before_its_moment() -> None:
    # e and f have one time: neither may tell the other.
    assert asked_of(questions(LEAVE_ONE_OUT, small(), 0, END)) == [("abcd", "f"), ("a", "b")]


def test_next_baskets_are_those_of_the_data_set() -> None:
    found = questions(NEXT_BASKET, small(), minutes(1, 100)[0], END)
    assert asked_of(found) == [("abcd", "ef"), ("", "a"), ("a", "b")]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_only_the_judged_days_are_asked_about(protocol: str) -> None:
    log = small()
    found = questions(protocol, log, *minutes(1, 10, 76))
    assert {answer for _, answer in asked_of(found)} <= {"b", "c", "d"}
    assert len(questions(protocol, log, END, END + 1)) == 0


def test_leave_one_out_is_about_the_last_event_of_the_judged_days() -> None:
    found = questions(LEAVE_ONE_OUT, small(), *minutes(1, 10, 76))
    assert asked_of(found) == [("abc", "d")]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_history_reaches_its_answer(protocol: str) -> None:
    rng = np.random.default_rng(5)
    rows = [
        (f"u{rng.integers(6)}", f"i{rng.integers(9)}", at(1) + int(rng.integers(50)) * HOUR_MS // 4)
        for _ in range(300)
    ]
    log = log_of(rows)
    found = questions(protocol, log, at(1.2), END)
    assert len(found) > 5
    for number, (time, owner) in enumerate(zip(times(found), owners(found), strict=True)):
        own = np.flatnonzero(log.users == owner)
        part = np.arange(found.history_starts[number], found.history_ends[number])
        assert part.tolist() == own[log.times[own] < time].tolist()
        assert time >= at(1.2)


def test_a_frozen_profile_holds_what_came_before_the_period() -> None:
    rng = np.random.default_rng(6)
    rows = [
        (f"u{rng.integers(5)}", f"i{rng.integers(9)}", at(0) + int(rng.integers(3 * DAY_MS)))
        for _ in range(400)
    ]
    log = log_of(rows)
    live = questions(PREQUENTIAL, log, at(1), END)
    assert isinstance(live, Questions)
    for period in (HOUR_MS, DAY_MS):
        frozen = live.frozen(period)
        for number, (time, owner) in enumerate(zip(times(live), owners(live), strict=True)):
            own = np.flatnonzero(log.users == owner)
            part = np.arange(frozen.history_starts[number], frozen.history_ends[number])
            assert part.tolist() == own[log.times[own] < time // period * period].tolist()
        # All but the history is the same.
        assert times(frozen).tolist() == times(live).tolist()
        assert [frozen.targets(n).tolist() for n in range(len(live))] == [
            live.targets(n).tolist() for n in range(len(live))
        ]


def test_a_frozen_profile_may_be_empty() -> None:
    live = questions(PREQUENTIAL, small(), 0, END)
    assert isinstance(live, Questions)
    assert [history for history, _ in asked_of(live.frozen(DAY_MS))] == [""] * 7
    by_hour = [history for history, _ in asked_of(live.frozen(HOUR_MS))]
    assert by_hour == ["", "", "", "abc", "abcd", "", ""]


def test_a_sample_keeps_the_order_and_repeats() -> None:
    found = questions(PREQUENTIAL, small(), 0, END)
    drawn = sampled(found, 3, seed=1)
    assert isinstance(drawn, Questions)
    every = asked_of(found)
    places = [every.index(each) for each in asked_of(drawn)]
    assert len(places) == 3
    assert times(drawn).tolist() == sorted(times(drawn).tolist())
    assert asked_of(sampled(found, 3, seed=1)) == asked_of(drawn)
    assert sampled(found, 7, seed=1) is found


def test_another_protocol_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no protocol 'coin-toss'; one of next-basket"):
        questions("coin-toss", small(), 0, END)
