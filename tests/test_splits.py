"""Splits: what is learned from holds no answer, and no history holds its own."""

from itertools import pairwise

import numpy as np
import pytest

from model.features import DAY_MS
from model.sequences import Cases, Sequences
from model.splits import Split, leave_one_out, next_basket, next_in_session, prefixes
from tests.sequence_shop import letters, named, timed


def answers(cases: Cases) -> list[str]:
    """The right answers of each case, a letter each."""
    ids = cases.histories.item_ids
    return [
        "".join(ids[item] for item in cases.targets[start:end])
        for start, end in pairwise(cases.target_starts.tolist())
    ]


def one_by_one(seed: int = 3) -> Sequences:
    """Thirty users, every event an item of its own: whatever leaks can be told by its number."""
    lengths = np.random.default_rng(seed).integers(1, 9, 30)
    starts = np.append(0, np.cumsum(lengths))
    times = np.random.default_rng(seed).integers(0, 90 * DAY_MS, starts[-1])
    times = np.concatenate([np.sort(part) for part in np.split(times, starts[1:-1])])
    items = np.arange(starts[-1], dtype=np.int32)
    return Sequences(items, starts, [str(item) for item in items], times)


# --- leave-one-out ---


def test_the_last_item_is_the_test_and_the_one_before_the_validation() -> None:
    found = named(["abcd", "ab", "cda", "d"])
    split = leave_one_out(found, validation_in_history=True, validation_in_final=False)
    assert letters(split.train) == ["ab", "ab", "c", "d"]
    assert (letters(split.validation.histories), answers(split.validation)) == (
        ["ab", "c"], ["c", "d"],
    )  # fmt: skip
    assert letters(split.final) == letters(split.train)
    assert (letters(split.test.histories), answers(split.test)) == (["abc", "cd"], ["d", "a"])
    assert split.test.seen_excluded


def test_the_validation_item_joins_history_and_counts_only_where_asked() -> None:
    found = named(["abcd"])
    for in_history in (False, True):
        for in_final in (False, True):
            split = leave_one_out(
                found, validation_in_history=in_history, validation_in_final=in_final
            )
            assert letters(split.train) == ["ab"]
            assert letters(split.final) == ["abc" if in_final else "ab"]
            assert letters(split.test.histories) == ["abc" if in_history else "ab"]
            assert answers(split.test) == ["d"]


@pytest.mark.parametrize("in_final", [False, True])
def test_leave_one_out_does_not_leak(in_final: bool) -> None:
    split = leave_one_out(one_by_one(), validation_in_history=True, validation_in_final=in_final)
    validation, test = set(split.validation.targets.tolist()), set(split.test.targets.tolist())
    assert len(validation) == len(test) > 10
    assert not set(split.train.items.tolist()) & (validation | test)
    assert not set(split.final.items.tolist()) & test
    assert bool(set(split.final.items.tolist()) & validation) is in_final
    assert not set(split.validation.histories.items.tolist()) & (validation | test)
    assert not set(split.test.histories.items.tolist()) & test


def test_too_short_users_are_an_error() -> None:
    with pytest.raises(ValueError, match="three items"):
        leave_one_out(named(["ab"]), validation_in_history=True, validation_in_final=True)


# --- sessions ---


def test_prefixes_are_the_longest_first_and_repeats_count() -> None:
    found = prefixes(named(["abca", "d", "", "bd"]))
    assert letters(found.histories) == ["abc", "ab", "a", "b"]
    assert answers(found) == ["a", "c", "b", "d"]
    assert not found.seen_excluded


def test_the_newest_sessions_are_the_validation_and_are_learned_in_the_end() -> None:
    found = named(["ab", "bc", "cd", "da"])
    test = prefixes(named(["ac"], "abcd"))
    split = next_in_session(found, test, validation_share=0.25)
    assert letters(split.train) == ["ab", "bc", "cd"]
    assert (letters(split.validation.histories), answers(split.validation)) == (["d"], ["a"])
    assert split.final is found
    assert split.test is test


def test_sessions_do_not_leak() -> None:
    found = one_by_one()
    split = next_in_session(found, prefixes(found), validation_share=0.3)
    assert len(split.validation) > 10
    later = set(split.validation.targets.tolist()) | set(split.validation.histories.items.tolist())
    assert not set(split.train.items.tolist()) & later


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_part_without_sessions_is_an_error(share: float) -> None:
    found = named(["ab", "bc"])
    with pytest.raises(ValueError, match="nothing to learn"):
        next_in_session(found, prefixes(found), validation_share=share)


# --- baskets ---


def shop() -> Sequences:
    """Days 0 to 6; with days=2 the test begins at day 4, the validation at day 2."""
    return timed(
        [
            [("a", 0), ("b", 1), ("a", 2.5), ("c", 2.5), ("b", 4), ("c", 4), ("c", 4), ("b", 5.5)],
            [("c", 0), ("d", 6.5)],
            [("a", 4.5)],
        ]
    )


def test_a_basket_is_one_moment_with_known_items_and_a_history_frozen_at_the_cut() -> None:
    split = next_basket(shop(), days=2, unseen_only=False)
    assert letters(split.train) == ["ab", "c", ""]
    assert (letters(split.validation.histories), answers(split.validation)) == (["ab"], ["ac"])
    assert letters(split.final) == ["abac", "c", ""]
    # Item d is new, and the third user had bought nothing before.
    assert letters(split.test.histories) == ["abac", "abac"]
    assert answers(split.test) == ["bc", "b"]
    assert (split.validation.as_of, split.test.as_of) == (2 * DAY_MS, 4 * DAY_MS)
    assert not split.test.seen_excluded


def test_unseen_only_asks_for_what_the_user_had_not_bought() -> None:
    users: list[list[tuple[str, float]]] = [
        [("a", 0), ("b", 2.2), ("b", 4), ("c", 4)],
        [("c", 0), ("c", 3), ("a", 5), ("b", 6)],
        [("a", 0), ("c", 3)],
    ]
    split = next_basket(timed(users), days=2, unseen_only=True)
    assert (letters(split.validation.histories), answers(split.validation)) == (["a"], ["c"])
    assert letters(split.test.histories) == ["ab", "cc", "cc"]
    assert answers(split.test) == ["c", "a", "b"]
    assert split.test.seen_excluded


def is_frozen(cases: Cases, split_time: int) -> bool:
    return bool((cases.histories.known_times < split_time).all())


def test_baskets_do_not_leak() -> None:
    found = one_by_one()
    # Bought by somebody at the very beginning, so that every item is known.
    first = Sequences(
        found.items,
        np.array([0, len(found.items)]),
        found.item_ids,
        np.zeros(len(found.items), np.int64),
    )
    both = Sequences(
        np.concatenate([first.items, found.items]),
        np.concatenate([first.starts[:-1], found.starts + len(found.items)]),
        found.item_ids,
        np.concatenate([first.known_times, found.known_times]),
    )
    split: Split = next_basket(both, days=20, unseen_only=False)
    for learned, cases in ((split.train, split.validation), (split.final, split.test)):
        assert cases.as_of is not None
        assert len(cases) > 5
        assert is_frozen(cases, cases.as_of)
        assert (learned.known_times < cases.as_of).all()
        assert not np.isin(learned.items[learned.rows > 0], cases.targets).any()
    assert split.test.as_of is not None
    assert split.validation.as_of == split.test.as_of - 20 * DAY_MS


def test_a_log_that_is_too_short_is_an_error() -> None:
    with pytest.raises(ValueError, match="no basket"):
        next_basket(timed([[("a", 0)]]), days=2, unseen_only=False)
