"""The items that a search has found for users, by their exact scores, best first."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.features import PADDING
from model.index_filter import BARRED


class Nearest(NamedTuple):
    """The best items of B users."""

    rows: NDArray[np.int64]
    """[B, K] vocabulary rows, best first; padding where there are not K that may be recommended."""
    scores: NDArray[np.float32]
    """[B, K], for padding twice ``BARRED``."""


def recall(found: NDArray[np.int64], nearest: NDArray[np.int64]) -> float:
    """Share of the exact nearest, [B, K], that were found, [B, any]."""
    pairs = zip(found, nearest, strict=True)
    return float(np.mean([np.isin(exact, ours).mean() for ours, exact in pairs]))


def products(
    states: NDArray[np.float32], table: NDArray[np.float32], places: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Of each user with vectors at these places of a table, [B, N]; -1 is no place."""
    import faiss

    scores = np.empty(places.shape, np.float32)
    # Where the vectors lie: to gather them first would take three times as long.
    faiss.fvec_inner_products_by_idx(
        *map(faiss.swig_ptr, (scores, np.ascontiguousarray(states), table, places)),
        states.shape[1], *places.shape,
    )  # fmt: skip
    return scores


def best(
    rows: NDArray[np.int64], scores: NDArray[np.float32], count: int, none: int = PADDING
) -> Nearest:
    """The ``count`` best of what was found, rows and scores [B, N], best first."""
    if scores.shape[1] > count:
        first = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        rows, scores = np.take_along_axis(rows, first, 1), np.take_along_axis(scores, first, 1)
    order = np.argsort(-scores, axis=1)
    made = nobody(len(rows), count, none)
    made.rows[:, : scores.shape[1]] = np.take_along_axis(rows, order, 1)
    made.scores[:, : scores.shape[1]] = np.take_along_axis(scores, order, 1)
    return made


def nobody(users: int, count: int, none: int = PADDING) -> Nearest:
    """So many places without an item."""
    return Nearest(
        np.full((users, count), none, np.int64),
        np.full((users, count), 2 * BARRED, np.float32),
    )
