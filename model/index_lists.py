"""The lists of a ``model.item_index``: items by the centre that they are closest to.

Each item has eight bits for each number of its vector. Whole eights of numbers fit into registers:
of 72 a list is read three times as fast as of 66.

Centres are the means of their items, found by k-means, and not directions: the inner product of a
state with a mean tells how good the items there are, long vectors included. A learned bias, which
differs from item to item as much as a whole score does, would draw all vectors to one side: only
its distance from the mean counts, which changes no order, and it is cut into parts, so that it
weighs as much as a number of the vector does.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.features import FIRST_ITEM

LISTS_PER_ROOT = 8.0
"""Lists, times the root of the items: of a million, 25 of 8,000 lists hold as many of the nearest
100 as 100 of 4,000 do."""
TAUGHT_PER_LIST = 40
"""Items that a centre is found from: more make no better ones, and k-means costs most here."""
MOST_PARTS = 16
"""Of a bias."""
REGISTER = 8
"""Numbers that are read at once."""
SAMPLE = 4096
"""Items whose mean bias stands for that of all: a worker that shares the table reads no more."""
SEED = 0


class Padding(NamedTuple):
    """How a vector stands in the lists; a state stands there with ones behind."""

    dim: int
    """D, without the bias."""
    parts: int
    """Of a bias."""
    mean: float
    """Bias that counts as none."""

    @classmethod
    def fit(cls, vectors: NDArray[np.float32], square: float) -> "Padding":
        """That of a table.

        Args:
            vectors: float32 [V, D + 1].
            square: mean of the squared numbers of a state: so many parts of a bias, each with a
                factor of 1, weigh as much as one number of the vector.
        """
        dim = vectors.shape[1] - 1
        parts = min(max(round(square), 1), MOST_PARTS)
        return cls(dim, parts + -(dim + parts) % REGISTER, _mean_bias(vectors))

    @classmethod
    def of_lists(cls, vectors: NDArray[np.float32], width: int) -> "Padding":
        """That of lists of so many numbers an item, made of this table."""
        dim = vectors.shape[1] - 1
        return cls(dim, width - dim, _mean_bias(vectors))

    def items(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [N, D + 1] -> [N, D + parts]."""
        made = np.empty((len(vectors), self.dim + self.parts), np.float32)
        made[:, : self.dim] = vectors[:, :-1]
        made[:, self.dim :] = (vectors[:, -1:] - np.float32(self.mean)) / self.parts
        return made

    def states(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [B, D + 1] -> [B, D + parts]."""
        made = np.ones((len(states), self.dim + self.parts), np.float32)
        made[:, : self.dim] = states[:, :-1]
        return made


def make_lists(
    vectors: NDArray[np.float32], states: NDArray[np.float32], lists: int | None = None
) -> Any:
    """A faiss inverted file over all rows but padding and unknown, by their numbers.

    Args:
        vectors: float32 [V, D + 1], the last column the bias; see ``model.state_graph``.
        states: float32 [N, D + 1] of real users: how large their numbers are.
        lists: how many; by default eight times the root of the items.
    """
    import faiss

    items = len(vectors) - FIRST_ITEM
    if lists is None:
        lists = max(1, min(round(LISTS_PER_ROOT * items**0.5), items // 2))
    padding = Padding.fit(vectors, float(np.square(states[:, :-1]).mean()))
    kept = padding.items(vectors[FIRST_ITEM:])
    width = kept.shape[1]
    closest = faiss.IndexFlatL2(width)
    made = faiss.IndexIVFScalarQuantizer(
        closest, width, lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT, False
    )
    made.cp.seed = SEED
    made.cp.spherical = False
    made.cp.min_points_per_centroid = 1  # a small catalogue needs no warning
    made.cp.max_points_per_centroid = TAUGHT_PER_LIST
    chance = np.random.default_rng(SEED)
    made.train(kept[chance.permutation(items)[: TAUGHT_PER_LIST * lists]])
    made.add_with_ids(kept, np.arange(FIRST_ITEM, len(vectors)))
    # Items belong to the closest centre, states look for the greatest product.
    promising = faiss.IndexFlatIP(width)
    promising.add(centres_of(closest))
    made.quantizer = promising
    return made


def centres_of(quantizer: Any) -> NDArray[np.float32]:
    """The centres of lists, float32 [lists, width]."""
    return np.asarray(quantizer.reconstruct_n(0, quantizer.ntotal), np.float32)


def _mean_bias(vectors: NDArray[np.float32]) -> float:
    step = max(1, (len(vectors) - FIRST_ITEM) // SAMPLE)
    return float(vectors[FIRST_ITEM::step, -1].mean(dtype=np.float64))
