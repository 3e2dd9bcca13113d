"""Flat sequences: spans, ages, and cases that are whole."""

import numpy as np
import pytest

from model.sequences import Cases, Sequences
from tests.planted import at, log_of
from tests.sequence_shop import letters, named, timed


def test_spans_copy_what_they_name_overlaps_and_empty_ones_too() -> None:
    found = named(["abc", "", "de"])
    spans = found.spans(np.array([0, 1, 3, 5]), np.array([3, 5, 3, 5]))
    assert letters(spans) == ["abc", "bcde", "", ""]
    with pytest.raises(ValueError, match="ends before it begins"):
        found.spans(np.array([2]), np.array([1]))


def test_rows_ages_counts_and_lengths() -> None:
    found = named(["abca", "", "b"])
    assert found.rows.tolist() == [0, 0, 0, 0, 2]
    assert found.ages.tolist() == [3, 2, 1, 0, 0]
    assert found.lengths.tolist() == [4, 0, 1]
    assert found.counts().tolist() == [2, 2, 1]


def test_take_and_newest() -> None:
    found = named(["abc", "d", "ef"])
    assert letters(found.take(np.array([2, 0, 2]))) == ["ef", "abc", "ef"]
    assert letters(found.newest(2)) == ["bc", "d", "ef"]


def test_before_keeps_every_sequence_and_only_what_is_earlier() -> None:
    found = timed([[("a", 0), ("b", 1), ("c", 2)], [("d", 5)]])
    assert letters(found.before(at(0) * 0 + 86_400_000)) == ["a", ""]
    with pytest.raises(ValueError, match="no times"):
        named(["ab"]).before(1)


def test_a_log_becomes_one_sequence_a_user() -> None:
    log = log_of([("ann", "milk", at(1)), ("bob", "tea", at(0)), ("ann", "eggs", at(0))])
    found = Sequences.from_log(log)
    assert [found.item_ids[item] for item in found.items] == ["eggs", "milk", "tea"]
    assert found.starts.tolist() == [0, 2, 3]
    assert found.known_times.tolist() == [at(0), at(1), at(0)]


def test_cases_must_have_answers() -> None:
    histories = named(["ab", "a"])
    with pytest.raises(ValueError, match="2 histories with answers for 1"):
        Cases.single(histories, np.array([0], np.int32), seen_excluded=False)
    with pytest.raises(ValueError, match="without a right answer"):
        Cases(histories, np.array([0], np.int32), np.array([0, 0, 1]), seen_excluded=False)


def test_cases_are_taken_with_their_answers() -> None:
    histories = named(["ab", "c", "ca"])
    cases = Cases(histories, np.array([2, 0, 1, 1], np.int32), np.array([0, 1, 3, 4]), True, 7)
    taken = cases.take(np.array([1, 0]))
    assert letters(taken.histories) == ["c", "ab"]
    assert taken.targets.tolist() == [0, 1, 2]
    assert taken.target_starts.tolist() == [0, 2, 3]
    assert (taken.seen_excluded, taken.as_of) == (True, 7)


def test_a_sample_is_a_part_drawn_the_same_way_each_time() -> None:
    histories = named(["a" * (number + 1) for number in range(9)])
    cases = Cases.single(histories, np.zeros(9, np.int32), seen_excluded=False)
    drawn = [cases.sample(4, seed).histories.lengths.tolist() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] == sorted(set(drawn[0]))
    assert drawn[0] != drawn[2]
    assert cases.sample(9, 1) is cases
