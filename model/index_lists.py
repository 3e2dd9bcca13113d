"""The lists of an ``model.item_index``: items by the centre that they are closest to.

Centres are found by k-means on directions. A learned bias, which differs from item to item as much
as a whole score does, would draw the vectors to one side: only its distance from the mean counts,
which changes no order. It is spread over the numbers that are left up to a multiple of 16, which
is what the search computes at a time, and takes as much room as a number of the vector does.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.features import FIRST_ITEM

STEP = 16
LISTS_PER_ROOT = 4.0
"""Lists, times the root of the items: to choose lists then costs about as much as to read them."""
TAUGHT_PER_LIST = 40
"""Items that a centre is found from: more make no better ones, and k-means costs most here."""
SEED = 0


def make_lists(
    vectors: NDArray[np.float32], states: NDArray[np.float32], lists: int | None = None
) -> Any:
    """A faiss inverted file over all rows but padding and unknown, by their numbers.

    It is searched with states that ones were put behind: the bias stands there, in parts.

    Args:
        vectors: float32 [V, D + 1], the last column the bias; see ``model.state_graph``.
        states: float32 [N, D + 1] of real users: how large their numbers are.
        lists: how many; by default four times the root of the items.
    """
    import faiss

    items = len(vectors) - FIRST_ITEM
    if lists is None:
        lists = max(1, min(round(LISTS_PER_ROOT * items**0.5), items // 2))
    kept = _spread(vectors[FIRST_ITEM:], float(np.square(states[:, :-1]).mean()))
    made = faiss.index_factory(kept.shape[1], f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
    made.cp.seed = SEED
    made.cp.min_points_per_centroid = 1  # a small catalogue needs no warning
    made.cp.max_points_per_centroid = TAUGHT_PER_LIST
    chance = np.random.default_rng(SEED)
    made.train(kept[chance.permutation(items)[: TAUGHT_PER_LIST * lists]])
    made.add_with_ids(kept, np.arange(FIRST_ITEM, len(vectors)))
    return made


def _spread(vectors: NDArray[np.float32], square: float) -> NDArray[np.float32]:
    """Vectors of a multiple of 16 numbers, their bias in parts.

    Args:
        vectors: float32 [N, D + 1].
        square: mean of the squared numbers of a state: so many parts of a bias, each with a factor
            of 1, weigh as much as one number of the vector.
    """
    items, width = vectors.shape
    made = np.zeros((items, -(-width // STEP) * STEP), np.float32)
    made[:, : width - 1] = vectors[:, :-1]
    bias = vectors[:, -1:] - vectors[:, -1].mean()
    parts = max(1, min(round(square), made.shape[1] - width + 1))
    made[:, width - 1 : width - 1 + parts] = bias / parts
    return made
