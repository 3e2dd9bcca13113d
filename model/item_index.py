"""An approximate index of the item vectors: the nearest of millions without a product with all.

An inverted file (Jegou et al., "Product Quantization for Nearest Neighbor Search", 2011; faiss,
Douze et al., "The Faiss library", 2024): vectors are kept in lists by the centre that they are
closest to, four bits a number, and a search reads the lists of the centres that promise most. What
it finds is scored again with the exact vectors: only which items are found is approximate, never
their scores. What may not be recommended is left out of the search itself.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.features import FIRST_ITEM, PADDING

ITEM_VECTORS = "item_vectors"
STATE_OUTPUTS = ("states", "candidate_scores")
"""Of the graph of ``model.state_graph``."""
SPARE = 4
"""Times as many are taken from the lists as are asked for: four bits order them roughly. With twice
as many, .93 of the nearest are found where .95 are."""
WIDER = 4
"""Times as many lists, where those that were read hold too few items that may be recommended."""
BARRED = np.float32(-5e8)
"""A bias below that bars an item: barred ones have -1e9."""


class IndexFiles(NamedTuple):
    """Where the parts of an index are."""

    states: Path
    """The graph of ``model.state_graph``."""
    vectors: Path
    """Its table, float32 [V, D + 1], as numpy writes it."""
    lists: Path
    """What faiss has written."""


class Nearest(NamedTuple):
    """The best items of B users."""

    rows: NDArray[np.int64]
    """[B, K] vocabulary rows, best first; padding where there are not K that may be recommended."""
    scores: NDArray[np.float32]
    """[B, K], for padding twice ``BARRED``."""


class ItemIndex:
    """Finds the items with the greatest inner products.

    Args:
        lists: a faiss inverted file with inner products, see ``model.index_lists``.
        vectors: float32 [V, D + 1], see ``model.state_graph``.
        threads: of one search.
    """

    def __init__(self, lists: Any, vectors: NDArray[np.float32], *, threads: int) -> None:
        self._lists = lists
        self.vectors = np.ascontiguousarray(vectors)
        self._threads = threads

    @classmethod
    def read(cls, files: IndexFiles, *, threads: int) -> "ItemIndex":
        """The index of a bundle; the vectors stay in their file, which workers share in memory.

        Raises:
            RuntimeError: a file is no such index, or the two do not go together.
        """
        import faiss  # only workers whose bundle has an index need its 15 MB

        vectors = np.asarray(np.load(files.vectors, mmap_mode="r", allow_pickle=False))
        lists = faiss.read_index(str(files.lists))
        if lists.ntotal != len(vectors) - FIRST_ITEM or lists.d < vectors.shape[1]:
            raise RuntimeError(
                f"{files.lists} holds {lists.ntotal} items of {lists.d} numbers, {files.vectors} "
                f"is of shape {vectors.shape}; copy the whole bundle again"
            )
        return cls(lists, vectors, threads=threads)

    def nearest(
        self, states: NDArray[np.float32], item_bias: NDArray[np.float32], count: int
    ) -> Nearest:
        """The best ``count`` items of each user.

        The search passes over what is barred. Where the lists that it reads hold fewer than
        ``count`` other items, it reads more, in the end all: no user gets fewer than there are.

        Args:
            states: float32 [B, D + 1], the last column 1.
            item_bias: float32 [V], added to the scores: 0, or about -1e9 for what is barred.
            count: K.

        Raises:
            ValueError: the bias is of another catalogue.
        """
        if len(item_bias) != len(self.vectors):
            raise ValueError(f"{len(item_bias)} biases for {len(self.vectors)} items")
        import faiss

        # OpenMP keeps the number for each thread that calls.
        faiss.omp_set_num_threads(self._threads)
        allowed = item_bias > BARRED
        allowed[:FIRST_ITEM] = False
        if np.count_nonzero(allowed) <= self._read_by_a_search:
            return self._best_of(states, np.flatnonzero(allowed), item_bias, count)
        bits = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        padded = np.ones((len(states), self._lists.d), np.float32)
        padded[:, : states.shape[1]] = states
        probed = self.probed
        found = _nobody(len(states), count)
        users = np.arange(len(states))
        while len(users):
            reach = faiss.SearchParametersIVF(sel=bits, nprobe=probed)
            _, rows = self._lists.search(padded[users], SPARE * count, params=reach)
            best = self._rescored(states[users], rows, item_bias, count)
            found.rows[users], found.scores[users] = best
            if probed == self.lists:
                break
            users = users[best.rows[:, -1] == PADDING]
            probed = min(WIDER * probed, self.lists)
        return found

    @property
    def lists(self) -> int:
        """How many there are."""
        return int(self._lists.nlist)

    @property
    def probed(self) -> int:
        """How many of the lists a search reads, at least; it is written with them."""
        return int(self._lists.nprobe)

    @probed.setter
    def probed(self, count: int) -> None:
        self._lists.nprobe = min(count, self.lists)

    def write(self, file: Path) -> None:
        """Write the lists, not the vectors."""
        import faiss

        faiss.write_index(self._lists, str(file))

    @property
    def _read_by_a_search(self) -> int:
        """Items: to score as few of them all costs no more."""
        return int(self._lists.ntotal) * self.probed // self.lists

    def _best_of(
        self,
        states: NDArray[np.float32],
        rows: NDArray[np.int64],
        item_bias: NDArray[np.float32],
        count: int,
    ) -> Nearest:
        """The best of the same few rows for all users, exactly."""
        scores = states @ self.vectors[rows].T + item_bias[rows]
        return _best(np.broadcast_to(rows, scores.shape), scores, count)

    def _rescored(
        self,
        states: NDArray[np.float32],
        rows: NDArray[np.int64],
        item_bias: NDArray[np.float32],
        count: int,
    ) -> Nearest:
        """The best of each user's rows by their exact scores; -1 is no row."""
        import faiss

        scores = np.empty(rows.shape, np.float32)
        # Where the vectors lie: to gather them first would take three times as long.
        faiss.fvec_inner_products_by_idx(
            *map(faiss.swig_ptr, (scores, np.ascontiguousarray(states), self.vectors, rows)),
            states.shape[1], *rows.shape,
        )  # fmt: skip
        is_found = rows >= 0
        rows = np.where(is_found, rows, PADDING)
        scores += item_bias[rows]
        scores[~is_found] = 2 * BARRED
        return _best(rows, scores, count)


def _best(rows: NDArray[np.int64], scores: NDArray[np.float32], count: int) -> Nearest:
    if scores.shape[1] > count:
        first = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        rows, scores = np.take_along_axis(rows, first, 1), np.take_along_axis(scores, first, 1)
    order = np.argsort(-scores, axis=1)
    best = _nobody(len(rows), count)
    best.rows[:, : scores.shape[1]] = np.take_along_axis(rows, order, 1)
    best.scores[:, : scores.shape[1]] = np.take_along_axis(scores, order, 1)
    return best


def _nobody(users: int, count: int) -> Nearest:
    return Nearest(
        np.full((users, count), PADDING, np.int64),
        np.full((users, count), 2 * BARRED, np.float32),
    )
