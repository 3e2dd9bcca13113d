"""Cold items, new users, heavy users: which answers they are, and what is left of the ranks."""

import numpy as np
import pytest

from model.ranks import Ranks
from model.slices import COLD_EVENTS, NEW_EVENTS, cut, heavy_from, slice_masks

TARGETS = np.array([0, 1, 2, 0], np.int32)
STARTS = np.array([0, 1, 3, 4])
"""Three cases; the second has the answers 1 and 2."""
POPULARITY = np.array([100, COLD_EVENTS, COLD_EVENTS - 1])
RANKS = Ranks(np.array([1, 9, 2, 30]), STARTS)


def test_the_masks_by_hand() -> None:
    lengths = np.array([NEW_EVENTS - 1, NEW_EVENTS, 50])
    masks = slice_masks(TARGETS, STARTS, POPULARITY, lengths)
    assert masks["cold items"].tolist() == [False, False, True, False]
    assert masks["new users"].tolist() == [True, False, False, False]
    assert masks["heavy users"].tolist() == [False, False, False, True]


def test_only_answers_of_the_slice_are_asked_for() -> None:
    found = cut(RANKS, np.array([False, False, True, False]))
    assert found.cases.tolist() == [1]
    assert found.ranks.recall(5).tolist() == [1.0]
    assert found.ranks.mrr(5).tolist() == [0.5]


def test_the_slice_of_everything_is_everything() -> None:
    found = cut(RANKS, np.ones(4, bool))
    assert found.cases.tolist() == [0, 1, 2]
    assert found.ranks.ranks.tolist() == RANKS.ranks.tolist()
    assert found.ranks.starts.tolist() == STARTS.tolist()


def test_both_answers_of_a_case_stay_together() -> None:
    found = cut(RANKS, np.array([True, True, True, False]))
    assert found.ranks.answers.tolist() == [1, 2]
    assert found.ranks.hits(5).tolist() == [1, 1]


def test_heavy_is_the_tenth_with_the_longest_histories() -> None:
    lengths = np.arange(100)
    heavy = lengths >= heavy_from(lengths)
    assert heavy.sum() == pytest.approx(10, abs=1)
    # As many events as the shortest of them is heavy too; nobody with next to nothing is.
    assert heavy_from(np.full(50, 7)) == 7
    assert heavy_from(np.zeros(50, np.int64)) == NEW_EVENTS


def test_no_case_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no case"):
        heavy_from(np.empty(0, np.int64))
