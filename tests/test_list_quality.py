"""Coverage, Gini, novelty, diversity and tail share by hand, and what never changes them."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.list_quality import (
    MOST_USERS,
    NOTHING,
    by_category,
    by_users,
    coverage,
    diversity,
    exposures,
    gini,
    head_items,
    novelty,
    self_information,
    tail_share,
)

ITEMS = 10
QUICK = settings(max_examples=80, deadline=None)
LISTS = np.array([[0, 1, 2], [0, 3, NOTHING], [NOTHING] * 3])
POPULARITY = np.array([7, 3, 1, 1, 0, 0, 0, 0, 0, 0])


@st.composite
def some_lists(draw: st.DrawFn) -> NDArray[np.int64]:
    """Lists of distinct items, some shorter than the others."""
    rows = draw(st.lists(st.permutations(range(ITEMS)), min_size=1, max_size=8))
    lists = np.array(rows, np.int64)[:, :4]
    for row in lists:
        row[draw(st.integers(0, 4)) :] = NOTHING
    return lists


def test_exposures_and_coverage() -> None:
    shown = exposures(LISTS, ITEMS)
    assert shown.tolist() == [2, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert coverage(shown) == pytest.approx(0.4)


def test_gini_by_hand() -> None:
    assert gini(np.full(5, 3)) == 0.0
    assert gini(np.array([0, 0, 0, 9])) == pytest.approx(3 / 4)
    # Mean absolute difference over twice the mean: |1 - 3| twice of four pairs, mean 2.
    assert gini(np.array([3, 1])) == pytest.approx((2 * 2 / 4) / (2 * 2))
    assert gini(np.zeros(3, np.int64)) == 0.0


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40))
@QUICK
def test_gini_is_in_the_unit_interval_and_half_the_relative_mean_difference(
    counts: list[int],
) -> None:
    shown = np.array(counts)
    found = gini(shown)
    assert 0 <= found < 1
    if shown.sum():
        difference = np.abs(shown[:, None] - shown[None, :]).mean()
        assert found == pytest.approx(difference / (2 * shown.mean()), abs=1e-9)


@given(some_lists(), st.randoms(use_true_random=False))
@QUICK
def test_the_order_of_the_users_changes_nothing(lists: NDArray[np.int64], chance: Random) -> None:
    order = list(range(len(lists)))
    chance.shuffle(order)
    ours, theirs = exposures(lists, ITEMS), exposures(lists[order], ITEMS)
    assert ours.tolist() == theirs.tolist()
    distance = by_category(np.arange(ITEMS) // 3)
    assert diversity(lists, distance) == pytest.approx(diversity(lists[order], distance))
    assert 0 <= diversity(lists, distance) <= 1
    assert 0 <= tail_share(ours, POPULARITY) <= 1
    assert novelty(ours, POPULARITY) >= 0


def test_novelty_is_the_mean_information_of_a_place() -> None:
    # Each count and one more: 22 in all.
    information = self_information(POPULARITY)
    assert information[0] == pytest.approx(np.log2(22 / 8))
    assert information[9] == pytest.approx(np.log2(22))
    places = np.log2(22 / np.array([8, 4, 2, 8, 2]))
    assert novelty(exposures(LISTS, ITEMS), POPULARITY) == pytest.approx(places.mean())
    assert novelty(np.zeros(ITEMS, np.int64), POPULARITY) == 0.0


def test_the_head_is_the_most_popular_fifth() -> None:
    assert np.flatnonzero(head_items(POPULARITY)).tolist() == [0, 1]
    assert np.flatnonzero(head_items(np.zeros(5, np.int64))).tolist() == [0]
    assert tail_share(exposures(LISTS, ITEMS), POPULARITY) == pytest.approx(2 / 5)
    assert tail_share(np.zeros(ITEMS, np.int64), POPULARITY) == 0.0


def test_diversity_by_category() -> None:
    categories = np.array([0, 0, 1, -1, -1, 2, 2, 2, 2, 2])
    # The first list has pairs 01 alike, 02 and 12 not; the second 03, unknown and so unlike.
    assert diversity(LISTS, by_category(categories)) == pytest.approx((2 / 3 + 1) / 2)
    both_unknown = np.array([[3, 4, NOTHING]])
    assert diversity(both_unknown, by_category(categories)) == 1.0
    assert diversity(np.array([[5, 6, 7]]), by_category(categories)) == 0.0


def test_a_list_without_a_pair_is_not_judged() -> None:
    alone = np.array([[4, NOTHING], [NOTHING, NOTHING]])
    assert diversity(alone, by_category(np.zeros(ITEMS, np.int64))) == 0.0
    with_a_pair = np.concatenate([alone, [[1, 2]]])
    assert diversity(with_a_pair, by_category(np.arange(ITEMS))) == 1.0


def test_distance_by_users() -> None:
    # Item 0 has users 0 to 3, item 1 users 2 and 3 (one of them twice), item 2 user 9.
    users = np.array([0, 1, 2, 3, 2, 3, 3, 9], np.int32)
    items = np.array([0, 0, 0, 0, 1, 1, 1, 2], np.int32)
    distance = by_users(users, items, seed=0)
    left, right = np.array([0, 0, 1, 1, 2, 5]), np.array([1, 2, 2, 1, 5, 0])
    expected = [1 - 2 / np.sqrt(4 * 2), 1.0, 1.0, 0.0, 1.0, 1.0]
    assert distance(left, right) == pytest.approx(expected)


def test_distance_by_users_is_the_cosine_of_incidence() -> None:
    rng = np.random.default_rng(1)
    users, items = rng.integers(0, 150, 900), rng.integers(0, ITEMS, 900)
    matrix = np.zeros((ITEMS, 150))
    matrix[items, users] = 1
    norms = np.linalg.norm(matrix, axis=1)
    cosine = matrix @ matrix.T / np.outer(norms, norms)
    left, right = np.triu_indices(ITEMS)
    found = by_users(users.astype(np.int32), items.astype(np.int32), seed=0)(left, right)
    assert found == pytest.approx(1 - cosine[left, right])


def test_of_many_users_a_sample_is_taken() -> None:
    count = MOST_USERS + 5_000
    users = np.arange(count, dtype=np.int32)
    items = np.zeros(2 * count, np.int32)
    items[count:] = 1
    # Item 1 has every other user of item 0.
    both = np.concatenate([users, users // 2 * 2])
    found = by_users(both, items, seed=0)(np.array([0]), np.array([1]))
    assert found[0] == pytest.approx(1 - 1 / np.sqrt(2), abs=0.02)
