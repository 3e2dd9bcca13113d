"""The lists of a ``model.item_index``: items by the centre that they are closest to.

Each item has four bits for each number of its vector: of so few, tables of products fit into
registers (Andre et al., "Cache Locality is not Enough: High-Performance Nearest Neighbor Search
with Product Quantization Fast Scan", 2015), and a list is read three times as fast as with eight.

Centres are found by k-means on directions. A learned bias, which differs from item to item as much
as a whole score does, would draw all vectors to one side: only its distance from the mean counts,
which changes no order, and it is cut into parts, so that it weighs as much as a number of the
vector does.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.features import FIRST_ITEM

LISTS_PER_ROOT = 4.0
"""Lists, times the root of the items: to choose lists then costs about as much as to read them."""
TAUGHT_PER_LIST = 40
"""Items that a centre is found from: more make no better ones, and k-means costs most here."""
MOST_PARTS = 16
"""Of a bias."""
LEAST_TAUGHT = 16
"""As many as four bits tell apart: fewer items are shown again."""
SEED = 0


def make_lists(
    vectors: NDArray[np.float32], states: NDArray[np.float32], lists: int | None = None
) -> Any:
    """A faiss inverted file over all rows but padding and unknown, by their numbers.

    It is searched with states that ones were put behind: the parts of the bias stand there.

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
    width = kept.shape[1]
    made = faiss.index_factory(width, f"IVF{lists},PQ{width}x4fs", faiss.METRIC_INNER_PRODUCT)
    for settings in (made.cp, made.pq.cp):
        settings.seed = SEED
        settings.min_points_per_centroid = 1  # a small catalogue needs no warning
    made.cp.max_points_per_centroid = TAUGHT_PER_LIST
    chance = np.random.default_rng(SEED)
    taught = np.resize(chance.permutation(items), max(LEAST_TAUGHT, TAUGHT_PER_LIST * lists))
    made.train(kept[taught[: max(LEAST_TAUGHT, items)]])
    made.add_with_ids(kept, np.arange(FIRST_ITEM, len(vectors)))
    return made


def _spread(vectors: NDArray[np.float32], square: float) -> NDArray[np.float32]:
    """Vectors of an even number of numbers, their bias in parts.

    Args:
        vectors: float32 [N, D + 1].
        square: mean of the squared numbers of a state: so many parts of a bias, each with a factor
            of 1, weigh as much as one number of the vector.
    """
    dim = vectors.shape[1] - 1
    parts = min(max(round(square), 1), MOST_PARTS)
    made = np.zeros((len(vectors), dim + parts + (dim + parts) % 2), np.float32)
    made[:, :dim] = vectors[:, :-1]
    bias = vectors[:, -1:] - vectors[:, -1].mean()
    made[:, dim : dim + parts] = bias / parts
    return made
