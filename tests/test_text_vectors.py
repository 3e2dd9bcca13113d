"""The most alike vectors are found: exactly while there are few, in lists when there are many."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.text_encoder import unit
from serving.text_vectors import PROBED, TextVectors

ROWS, DIMENSIONS = 3000, 16


@pytest.fixture(scope="module")
def vectors() -> NDArray[np.float32]:
    chance = np.random.default_rng(0)
    middles = chance.normal(size=(50, DIMENSIONS))
    spread = 0.3 * chance.normal(size=(ROWS, DIMENSIONS))
    return unit((middles[chance.integers(0, 50, ROWS)] + spread).astype(np.float32))


def table(vectors: NDArray[np.float32], **limits: int) -> TextVectors:
    """All vectors, put in by the hundred."""
    made = TextVectors(DIMENSIONS, **limits)
    for start in range(0, len(vectors), 100):
        rows = np.arange(start, start + 100)
        made.put(rows, vectors[rows])
    return made


def test_few_are_compared_exactly(vectors: NDArray[np.float32]) -> None:
    allowed = np.random.default_rng(1).random(ROWS) < 0.5
    found = table(vectors).nearest(vectors[:5], allowed, 20)
    for query, alike in zip(vectors[:5], found, strict=True):
        cosines = np.where(allowed, vectors @ query, -2)
        assert alike.rows.tolist() == np.argsort(-cosines, kind="stable")[:20].tolist()
        assert alike.cosines == pytest.approx(cosines[alike.rows], abs=1e-5)


def test_many_are_found_in_lists(vectors: NDArray[np.float32]) -> None:
    listed = table(vectors, exact_rows=1000, centres=2 * PROBED)
    assert len(listed) == ROWS
    allowed = np.ones(ROWS, np.bool_)
    allowed[::3] = False
    exact = table(vectors).nearest(vectors[:50], allowed, 20)
    found = listed.nearest(vectors[:50], allowed, 20)
    shared = [len(set(a.rows) & set(b.rows)) / 20 for a, b in zip(exact, found, strict=True)]
    assert np.mean(shared) > 0.9
    assert all(allowed[each.rows].all() for each in found)
    rows = np.array([0, 999, 1000, ROWS - 1])
    assert listed.cosines(vectors[7], rows) == pytest.approx(vectors[rows] @ vectors[7], abs=0.02)


def test_what_comes_after_the_lists_were_made_is_found(vectors: NDArray[np.float32]) -> None:
    listed = table(vectors, exact_rows=1000, centres=8)
    new = unit(np.arange(DIMENSIONS, dtype=np.float32)[None])
    listed.put(np.array([ROWS]), new)
    (found,) = listed.nearest(new, np.ones(ROWS + 1, np.bool_), 3)
    assert found.rows[0] == ROWS


def test_a_row_without_a_vector_is_never_found() -> None:
    made = TextVectors(2)
    made.put(np.array([5000]), np.array([[0, 1]], np.float32))
    (found,) = made.nearest(np.array([[1, 0]], np.float32), np.ones(9000, np.bool_), 10)
    assert found.rows.tolist() == [5000]
    unknown = made.cosines(np.array([0, 1], np.float32), np.array([3, 5000, 8999]))
    assert unknown.tolist() == [-1, 1, -1]


def test_nothing_is_alike_to_zeros(vectors: NDArray[np.float32]) -> None:
    zeros = np.zeros((1, DIMENSIONS), np.float32)
    (found,) = table(vectors).nearest(zeros, np.ones(ROWS, np.bool_), 10)
    assert len(found.rows) == 0


def test_of_equal_texts_the_first_rows_are_found() -> None:
    same = np.tile(unit(np.ones((1, DIMENSIONS), np.float32)), (100, 1))
    (alike,) = table(same).nearest(same[:1], np.ones(100, np.bool_), 7)
    assert alike.rows.tolist() == list(range(7))


@pytest.mark.parametrize("exact_rows", [100_000, 1_000])
def test_rows_that_share_a_vector_are_as_rows_that_have_it_each(
    vectors: NDArray[np.float32], exact_rows: int
) -> None:
    chance = np.random.default_rng(2)
    which = chance.integers(0, 200, ROWS)
    rows = chance.permutation(ROWS)
    shared, apart = (TextVectors(DIMENSIONS, exact_rows=exact_rows, centres=8) for _ in range(2))
    for start in range(0, ROWS, 500):
        here = slice(start, start + 500)
        distinct, of_each = np.unique(which[here], return_inverse=True)
        shared.put(rows[here], vectors[distinct], of_each)
        apart.put(rows[here], vectors[which[here]])
    allowed = chance.random(ROWS) < 0.7
    found, expected = (each.nearest(vectors[:5], allowed, 30) for each in (shared, apart))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.rows.tolist() == theirs.rows.tolist()
        assert ours.cosines.tolist() == theirs.cosines.tolist()
    some = np.arange(0, 50)
    assert np.array_equal(shared.cosines(vectors[3], some), apart.cosines(vectors[3], some))
    weights = np.linspace(1, 2, 50, dtype=np.float32)
    assert np.array_equal(shared.mean(some, weights), apart.mean(some, weights))
