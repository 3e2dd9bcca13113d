"""Vectors of items outside the vocabulary: which candidates they score, and which are nearest."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model import cold_items
from model.cold_items import MOST_COLD, ColdItems

WIDTH = 3


def states(*rows: tuple[float, float]) -> NDArray[np.float32]:
    return np.array([[*row, 1.0] for row in rows], np.float32)


def cold(vectors: dict[int, tuple[float, float, float]]) -> ColdItems:
    made = ColdItems(WIDTH)
    made.put(np.array(list(vectors)), np.array(list(vectors.values()), np.float32))
    return made


def everything(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    return rows >= 0


def test_a_score_is_state_times_vector_plus_bias_and_others_keep_theirs() -> None:
    made = cold({7: (1.0, 2.0, 0.5), 3: (0.0, -1.0, 0.0)})
    given = np.array([9.0, 9.0, 9.0, 9.0], np.float32)
    scores = made.rescored(
        given, states((1, 1), (2, 0)), np.array([0, 0, 1, 1]), np.array([7, 4, 7, 100_000])
    )
    assert scores.tolist() == [3.5, 9.0, 2.5, 9.0]
    assert given.tolist() == [9.0] * 4


def test_the_nearest_are_the_best_that_may_be_listed_best_first() -> None:
    made = cold({5: (1.0, 0.0, 0.0), 6: (3.0, 0.0, 0.0), 8: (2.0, 0.0, 0.0)})
    found = made.nearest(states((1, 0), (-1, 0)), lambda rows: rows != 6)
    assert found.rows.tolist() == [[8, 5], [5, 8]]
    assert found.scores.tolist() == [[2.0, 1.0], [-1.0, -2.0]]


def test_of_many_it_gives_as_many_as_were_said_and_they_are_the_best() -> None:
    chance = np.random.default_rng(3)
    made = ColdItems(WIDTH)
    vectors = chance.normal(size=(5_000, WIDTH)).astype(np.float32)
    for part in np.split(np.arange(5_000), 5):
        made.put(part * 2, vectors[part])
    assert len(made) == 5_000
    asked = states((0.3, -1.0))
    found = made.nearest(asked, everything)
    newest = np.arange(5_000)[-cold_items.NEWEST :]
    best = newest[np.argsort(-(vectors[newest] @ asked[0]))][:MOST_COLD]
    assert found.rows.tolist() == [(best * 2).tolist()]


def test_without_any_nothing_is_near_and_nothing_is_scored_anew() -> None:
    made = ColdItems(WIDTH)
    assert made.nearest(states((1, 0)), everything).rows.shape == (1, 0)
    scores = np.ones(1, np.float32)
    rescored = made.rescored(scores, states((1, 0)), np.zeros(1, np.int64), np.zeros(1, np.int64))
    assert rescored.tolist() == [1.0]


@pytest.mark.parametrize("count", [30, 1_500, 5_000])
def test_whatever_is_barred_the_best_of_the_others_are_found_equals_in_their_order(
    count: int,
) -> None:
    chance = np.random.default_rng(count)
    made = ColdItems(WIDTH)
    # Of few distinct numbers, so that many are equal.
    vectors = chance.integers(-2, 3, (count, WIDTH)).astype(np.float32)
    made.put(np.arange(count), vectors)
    may = chance.random(count + 1) < 0.5
    may[count] = False
    asked = states(*chance.integers(-2, 3, (7, 2)).tolist())
    newest = np.arange(count)[-cold_items.NEWEST :]
    newest = newest[may[newest]]
    found = made.nearest(asked, lambda rows: may[rows])
    for state, rows, scores in zip(asked, *found, strict=True):
        products = vectors[newest] @ state
        best = np.argsort(-products, kind="stable")[:MOST_COLD]
        assert rows.tolist() == newest[best].tolist()
        assert scores.tolist() == products[best].tolist()
