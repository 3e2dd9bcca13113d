"""What is put in is found by the next search, what is taken out by none, whoever searches when."""

import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.features import FIRST_ITEM, PADDING
from model.fresh_items import AT_ONCE
from model.item_index import IndexFiles, ItemIndex
from serving.catalog import NEVER
from tests.test_item_index import (
    DIM,
    EACH,
    NO_BIAS,
    SIZE,
    USERS,
    VECTORS,
    exact,
    index_of,
    share_found,
)

MORE = 300
"""Rows behind those of the bundle."""
LONG_BIAS = np.zeros(SIZE + MORE, np.float32)


@pytest.fixture
def index() -> ItemIndex:
    return index_of(VECTORS, probed=4)


def rows(*numbers: int) -> NDArray[np.int64]:
    return np.array(numbers, np.int64)


def best_for(user: int) -> NDArray[np.float32]:
    """A vector [1, D + 1] that no other of that user's items comes near to."""
    made = np.zeros((1, DIM + 1), np.float32)
    made[0, :DIM] = 3 * USERS[user, :DIM]
    return made


def test_a_new_item_is_found_by_the_next_search(index: ItemIndex) -> None:
    index.upsert(rows(SIZE + 7), best_for(3))
    found = index.nearest(USERS, LONG_BIAS, 20)
    assert found.rows[3, 0] == SIZE + 7
    assert found.scores[3, 0] == pytest.approx(float((USERS[3] @ best_for(3).T)[0]), rel=1e-5)


def test_a_new_item_may_be_barred_and_lies_beyond_short_biases(index: ItemIndex) -> None:
    index.upsert(rows(SIZE + 7), best_for(3))
    barred = LONG_BIAS.copy()
    barred[SIZE + 7] = NEVER
    for bias in (barred, NO_BIAS):
        assert SIZE + 7 not in index.nearest(USERS, bias, 20).rows


def test_an_item_whose_vector_changes_is_found_where_it_is_now(index: ItemIndex) -> None:
    row = FIRST_ITEM  # of the first group
    for user in (5, 9):
        index.upsert(rows(row), best_for(user))
        found = index.nearest(USERS, NO_BIAS, 20).rows
        assert found[user, 0] == row
    assert row not in found[0], "where it was first"


def test_what_is_removed_is_found_no_more_until_it_is_put_in_again(index: ItemIndex) -> None:
    index.upsert(rows(SIZE), best_for(3))
    index.remove(rows(SIZE, FIRST_ITEM, SIZE + 5))
    found = index.nearest(USERS, LONG_BIAS, SIZE).rows
    assert not np.isin(found, [SIZE, FIRST_ITEM, SIZE + 5]).any()
    index.upsert(rows(SIZE), best_for(3))
    assert index.nearest(USERS, LONG_BIAS, 20).rows[3, 0] == SIZE


def test_of_a_row_that_comes_twice_the_last_vector_counts(index: ItemIndex) -> None:
    index.upsert(rows(SIZE, SIZE), np.concatenate([best_for(3), best_for(4)]))
    index.remove(rows(SIZE))
    index.upsert(rows(SIZE, SIZE), np.concatenate([best_for(5), best_for(6)]))
    found = index.nearest(USERS, LONG_BIAS, 20).rows
    assert (found[6] == SIZE).sum() == 1
    assert found[6, 0] == SIZE and found[3, 0] != SIZE


def test_of_few_items_every_one_is_found_fresh_ones_too(index: ItemIndex) -> None:
    index.upsert(rows(SIZE, FIRST_ITEM + 1), np.concatenate([best_for(3), best_for(4)]))
    bias = np.full(len(LONG_BIAS), NEVER)
    few = [FIRST_ITEM, FIRST_ITEM + 1, SIZE, SIZE + 1]  # the last does not exist
    bias[few] = 0
    found = index.nearest(USERS, bias, 10)
    assert {*found.rows[0].tolist()} == {*few[:3], PADDING}
    assert found.rows[3, 0] == SIZE and found.rows[4, 0] == FIRST_ITEM + 1


def test_a_catalogue_that_was_put_in_anew_is_searched_as_well(index: ItemIndex) -> None:
    chance = np.random.default_rng(4)
    order = FIRST_ITEM + chance.permutation(SIZE - FIRST_ITEM)
    other = VECTORS.copy()
    other[order] = VECTORS[FIRST_ITEM:]
    for part in np.array_split(np.arange(FIRST_ITEM, SIZE), 50):
        index.upsert(part, other[part])
    found = index.nearest(USERS, NO_BIAS, 20)
    assert share_found(found, exact(other, NO_BIAS, 20)) > 0.95


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_lists_stay_full_and_good_where_much_is_unavailable(index: ItemIndex, share: float) -> None:
    bias = NO_BIAS.copy()
    bias[np.random.default_rng(6).random(SIZE) < share] = NEVER
    found = index.nearest(USERS, bias, 100)
    assert (found.rows >= FIRST_ITEM).all()
    assert (bias[found.rows] == 0).all()
    assert share_found(found, exact(VECTORS, bias, 100)) > 0.9


def test_biases_are_read_again_in_another_edition(index: ItemIndex) -> None:
    bias = NO_BIAS.copy()
    first = index.nearest(USERS, bias, 20, 1).rows
    bias[first[0, 0]] = NEVER
    assert index.nearest(USERS, bias, 20, 2).rows[0, 0] == first[0, 1]
    other = NO_BIAS.copy()
    assert index.nearest(USERS, other, 20, 2).rows[0, 0] == first[0, 0]


def test_a_change_counts_though_the_biases_stay_the_same(index: ItemIndex) -> None:
    first = index.nearest(USERS, NO_BIAS, 20, 1).rows
    index.remove(first[:, 0])
    assert not np.isin(index.nearest(USERS, NO_BIAS, 20, 1).rows, first[:, 0]).any()


def test_changes_do_not_pile_up_where_nobody_searches(index: ItemIndex) -> None:
    for number in range(8):
        index.upsert(rows(SIZE + number), best_for(number))
        assert index._fresh.waiting == 0
    found = index.nearest(USERS, LONG_BIAS, 20).rows
    assert found[:8, 0].tolist() == [SIZE + number for number in range(8)]


def test_beside_a_search_many_items_are_put_in_without_waiting_and_taken_in_by_the_next_ones(
    index: ItemIndex,
) -> None:
    put = np.arange(SIZE, SIZE + MORE)
    vectors = np.repeat(best_for(3), MORE, axis=0)
    with index._searching():
        index.upsert(put, vectors)
        assert index._fresh.waiting == -(-MORE // AT_ONCE)
    assert (index.nearest(USERS[3:4], LONG_BIAS, MORE).rows[0] >= SIZE).all()
    assert index._fresh.waiting == 0


def test_a_search_that_waits_for_its_turn_comes_before_what_was_put_in(index: ItemIndex) -> None:
    with index._next:
        index.upsert(rows(SIZE), best_for(3))
        assert index._fresh.waiting == 1
    assert index.nearest(USERS, LONG_BIAS, 20).rows[3, 0] == SIZE


def test_more_items_than_the_bundle_has_find_room(index: ItemIndex) -> None:
    many = 2 * SIZE
    put = np.arange(SIZE, SIZE + many)
    index.upsert(put, np.repeat(VECTORS[FIRST_ITEM:], 3, axis=0)[:many])
    index.remove(put[::2])
    index.upsert(put[::2], np.repeat(best_for(0), len(put[::2]), axis=0))
    found = index.nearest(USERS[:1], np.zeros(SIZE + many, np.float32), 20)
    assert np.isin(found.rows, put[::2]).all()
    assert np.allclose(found.scores, float((USERS[0] @ best_for(0).T)[0]), rtol=1e-5)


def test_new_items_are_found_apart_by_the_rows_of_the_caller(index: ItemIndex) -> None:
    new = index.first_new + np.arange(0, 600, 2)
    chance = np.random.default_rng(5)
    vectors = VECTORS[chance.integers(FIRST_ITEM, SIZE, len(new))]
    index.upsert(new, vectors)
    index.upsert(rows(FIRST_ITEM), best_for(1))  # a known one is none of them
    allowed = np.ones(601, np.bool_)
    allowed[chance.integers(0, 601, 100)] = False
    may = allowed[new - index.first_new]
    index.probed = index.lists
    scores = np.where(may, USERS @ vectors.T, -np.inf)
    best = np.argsort(-scores, axis=1)[:, :20]
    found = index.nearest_new(USERS, allowed, 20)
    assert np.allclose(found.scores, np.take_along_axis(scores, best, 1), atol=1e-4)
    assert allowed[found.rows].all()
    assert (found.rows % 2 == 0).all()


def test_where_few_new_items_are_left_all_of_them_come(index: ItemIndex) -> None:
    assert (index.nearest_new(USERS, np.ones(9, np.bool_), 5).rows == -1).all()
    index.upsert(index.first_new + np.arange(40), VECTORS[FIRST_ITEM : FIRST_ITEM + 40])
    allowed = np.zeros(40, np.bool_)
    allowed[[3, 30]] = True
    found = index.nearest_new(USERS, allowed, 5)
    assert (np.sort(found.rows[:, :2]) == [3, 30]).all()
    assert (found.rows[:, 2:] == -1).all()


def test_searches_beside_a_stream_of_changes_see_only_whole_items(index: ItemIndex) -> None:
    """One item wanders from user to user: each search finds it once or has it nowhere twice."""
    ended = threading.Event()
    failed: list[str] = []

    def search() -> None:
        while not ended.is_set():
            found = index.nearest(USERS, LONG_BIAS, 20)
            if any(len({*each}) != 20 for each in found.rows.tolist()):
                failed.append("an item stands twice in a list")
            if np.isin(found.rows, FIRST_ITEM + EACH).any():
                failed.append("what was removed was found")

    index.remove(rows(FIRST_ITEM + EACH))
    searching = [threading.Thread(target=search) for _ in range(2)]
    for each in searching:
        each.start()
    for number in range(200):
        index.upsert(rows(SIZE + number % MORE), best_for(number % len(USERS)))
    ended.set()
    for each in searching:
        each.join()
    assert failed == []
    last = index.nearest(USERS, LONG_BIAS, 20).rows
    assert last[199 % len(USERS), 0] >= SIZE


@pytest.mark.parametrize(
    ("row", "vector", "told"),
    [
        (FIRST_ITEM - 1, best_for(0), r"row 1 is no item's; they begin at 2"),
        (SIZE, best_for(0)[:, 1:], r"expected \(1, 17\)"),
        (SIZE, np.nan * best_for(0), "what is no number"),
    ],
)
def test_what_is_no_item_is_refused(
    index: ItemIndex, row: int, vector: NDArray[np.float32], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        index.upsert(rows(row), vector)


def test_the_files_stay_as_they_were(index: ItemIndex, tmp_path: Path) -> None:
    """They are shared: what one worker puts in is in its own memory alone."""
    files = IndexFiles(tmp_path / "unused", tmp_path / "vectors.npy", tmp_path / "lists")
    np.save(files.vectors, VECTORS)
    index.write(files.lists)
    before = [path.read_bytes() for path in files[1:]]
    one, other = (ItemIndex.read(files, threads=1) for _ in range(2))
    one.upsert(rows(FIRST_ITEM), best_for(3))
    assert one.nearest(USERS, NO_BIAS, 20).rows[3, 0] == FIRST_ITEM
    assert other.nearest(USERS, NO_BIAS, 20).rows[3, 0] != FIRST_ITEM
    assert [path.read_bytes() for path in files[1:]] == before
