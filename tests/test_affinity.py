"""How much more than others a user takes of what items are."""

from itertools import chain

import numpy as np
import pytest
from numpy.typing import NDArray

from model.affinity import ROOT, Affinities, GroupTree, affinities, taken
from model.dataset import PURCHASE
from model.features import Histories, Interactions, Purchases, PurchaseTable
from tests.planted import CLICK

ITEMS = (
    ("food", "tea", "green"), ("food", "tea", "black"), ("food", "jam"), ("home", "lamp"), (),
)  # fmt: skip
BRANDS = ("leaf", "leaf", None, "lux", None)
ROWS = np.arange(len(ITEMS))
EVENLY = np.ones(len(ITEMS))


def tree() -> GroupTree:
    made = GroupTree()
    for row, (path, brand) in enumerate(zip(ITEMS, BRANDS, strict=True)):
        made.put(row, path, brand)
    return made


def of_users(
    *rows: list[int], smoothing: float = 2.0, items: NDArray[np.int64] = ROWS
) -> Affinities:
    """What users who have taken these rows think of ``items``; all sell alike."""
    made = tree()
    owner = np.repeat(np.arange(len(rows)), [len(each) for each in rows])
    return affinities(
        made, made.shares(ROWS, EVENLY), owner, np.array([*chain(*rows)], np.int64),
        lists=len(rows), items=items, smoothing=smoothing,
    )  # fmt: skip


def test_the_shares_of_siblings_are_one_together() -> None:
    made = tree()
    shares = made.shares(ROWS, np.array([4.0, 1, 0, 2, 0]))
    groups = made.groups(ROWS)
    # Of tea the green and the black one; of all the food, the home and what has no category.
    assert shares[groups[[0, 1], 2]].sum() == pytest.approx(1)
    assert shares[groups[[0, 3, 4], 0]].sum() == pytest.approx(1)
    assert shares[np.unique(groups[:, -1])].sum() == pytest.approx(1)
    assert shares.min() > 0
    assert shares[ROOT] == 1


def test_who_has_taken_nothing_takes_what_everybody_takes() -> None:
    assert not np.any(of_users([], [0])[0][0])
    assert not np.any(of_users([], [0])[1][0])


def test_each_level_adds_the_logarithm_of_the_smoothed_share_over_everybodys() -> None:
    made = tree()
    share = made.shares(ROWS, EVENLY)
    food, tea, green = made.groups(ROWS)[0, :3]
    found = of_users([0, 0, 2, 3])
    # Of four events three are food, of those two tea, and both are green.
    expected = (
        np.log((3 / share[food] + 2) / (4 + 2))
        + np.log((2 / share[tea] + 2) / (3 + 2))
        + np.log((2 / share[green] + 2) / (2 + 2))
    )
    assert found.category[0, 0] == pytest.approx(expected, rel=1e-5)
    leaf = made.groups(ROWS)[0, -1]
    assert found.brand[0, 0] == pytest.approx(np.log((2 / share[leaf] + 2) / (4 + 2)), rel=1e-5)


def test_what_a_user_takes_comes_before_its_neighbour_and_that_before_the_rest() -> None:
    green, black, jam, lamp, _ = of_users([0, 0, 0]).category[0]
    assert green > black
    assert jam > lamp


def test_smoothing_draws_towards_everybody() -> None:
    little, much = of_users([0], smoothing=1), of_users([0], smoothing=1000)
    assert np.all(np.abs(much.category) < 0.02)
    assert np.abs(little.category).max() > 0.5


def test_what_the_table_does_not_hold_says_nothing() -> None:
    assert np.array_equal(of_users([0, -1]).category, of_users([0]).category)


def test_a_user_is_the_same_beside_others_and_an_item_beside_other_items() -> None:
    both = of_users([0, 2], [3, 3, 4])
    assert np.array_equal(both.category[1:], of_users([3, 3, 4]).category)
    some = np.array([3, 1])
    assert np.array_equal(of_users([0, 2], items=some).category[0], both.category[0, some])
    assert np.array_equal(of_users([0, 2], items=some).brand[0], both.brand[0, some])


def test_an_item_that_is_put_again_is_what_it_was_said_to_be_last() -> None:
    made = tree()
    made.put(3, ITEMS[0], BRANDS[0])
    assert np.array_equal(made.groups(ROWS)[3], made.groups(ROWS)[0])


def test_purchases_count_once_though_a_history_holds_them_too() -> None:
    history = Interactions(
        np.array([7, 8], np.uint64), np.array([PURCHASE, CLICK], np.uint8), np.array([1, 2])
    )
    bought = Purchases(np.array([7], np.uint64), np.array([0], np.uint16))
    nobody = Interactions(history.items[:0], history.kinds[:0], history.times[:0])
    nothing = Purchases(bought.items[:0], bought.days[:0])
    found = taken(Histories.of([nobody, history]), PurchaseTable.of([nothing, bought]))
    assert found.items.tolist() == [7, 8]
    assert found.owner.tolist() == [1, 1]
