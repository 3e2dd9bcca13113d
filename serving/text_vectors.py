"""Vectors of texts by catalogue row, and which of them are most alike to a query's.

Up to ``EXACT_ROWS`` all are compared. Beyond, vectors are kept in 8 bits a number and held in lists
by the nearest of a thousand centres (an inverted file; Jégou et al., "Product Quantization for
Nearest Neighbor Search", 2011): a query looks into a few lists, and a new vector is added to one,
so that nothing is ever rebuilt.
"""

from array import array
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.lexical_index import best_places

EXACT_ROWS = 131_072
"""Products with so many vectors of 256 numbers take some ten milliseconds of a core."""
CENTRES = 1_024
PROBED = 64
"""Lists that a query looks into: a sixteenth of all."""
TRAINED_ON = 32
"""Vectors for each centre; what more brings is not seen in what is found."""
FIRST_ROWS = 1_024


class Alike(NamedTuple):
    """Rows most alike to a query, best first, and the cosine of each."""

    rows: NDArray[np.int64]
    cosines: NDArray[np.float32]


class _Table(NamedTuple):
    """Vectors by row. Replaced as a whole, so that who reads meanwhile has what fits together."""

    vectors: NDArray[Any]
    """float32 or int8 [R, D]."""
    scales: NDArray[np.float32]
    """[R]: what a row's numbers are multiples of."""
    held: NDArray[np.bool_]
    """[R]: whether the row has a vector."""
    lists: "_Lists | None" = None

    def cosines(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return _products(self.vectors[rows], query) * self.scales[rows]

    def put(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        if self.vectors.dtype == np.int8:
            scales = np.maximum(np.abs(vectors).max(axis=1) / 127, 1e-9)
            self.scales[rows] = scales
            vectors = np.rint(vectors / scales[:, None])
        self.vectors[rows] = vectors
        # Behind the vectors: whoever reads meanwhile finds whole ones.
        self.held[rows] = True

    def with_room(self, rows: int) -> "_Table":
        size = len(self.held)
        room = size << max(0, ((rows - 1) // size).bit_length())
        # What was never written to takes no memory.
        vectors = np.zeros((room, self.vectors.shape[1]), self.vectors.dtype)
        vectors[:size] = self.vectors
        scales, held = np.ones(room, np.float32), np.zeros(room, np.bool_)
        scales[:size], held[:size] = self.scales, self.held
        return _Table(vectors, scales, held, self.lists)

    def in_lists(self, centres: int) -> "_Table":
        rows = np.flatnonzero(self.held)
        chosen = np.random.default_rng(0).permutation(rows)[: TRAINED_ON * centres]
        lists = _Lists(_centres(self.vectors[chosen], centres))
        table = _Table(
            np.zeros(self.vectors.shape, np.int8),
            np.ones(len(self.scales), np.float32),
            np.zeros_like(self.held),
            lists,
        )
        for start in range(0, len(rows), 4096):
            some = rows[start : start + 4096]
            table.put(some, self.vectors[some])
            lists.add(some, self.vectors[some])
        return table


class TextVectors:
    """A growing table of vectors of length 1. One thread writes, others may read meanwhile."""

    def __init__(
        self, dimensions: int, *, exact_rows: int = EXACT_ROWS, centres: int = CENTRES
    ) -> None:
        self._exact_rows, self._centres = exact_rows, centres
        self._table = _Table(
            np.zeros((FIRST_ROWS, dimensions), np.float32),
            np.ones(FIRST_ROWS, np.float32),
            np.zeros(FIRST_ROWS, np.bool_),
        )
        self._count = 0

    def __len__(self) -> int:
        """How many rows have one."""
        return self._count

    def put(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Set the vectors [N, D] of distinct rows that had none."""
        if (needed := int(rows.max(initial=-1)) + 1) > len(self._table.held):
            self._table = self._table.with_room(needed)
        table = self._table
        table.put(rows, vectors)
        self._count += len(rows)
        if table.lists is not None:
            table.lists.add(rows, vectors)
        elif self._count > self._exact_rows:
            self._table = table.in_lists(self._centres)

    def nearest(
        self, queries: NDArray[np.float32], allowed: NDArray[np.bool_], most: int
    ) -> list[Alike]:
        """The rows most alike to each of Q vectors [Q, D].

        Args:
            queries: of length 1, or zeros, to which nothing is alike.
            allowed: bool [rows]; others are left out.
            most: how many at most for each.
        """
        table = self._table
        size = min(len(allowed), len(table.held))
        usable = allowed[:size] & table.held[:size]
        found = []
        for query in queries:
            if not query.any():
                rows, cosines = np.empty(0, np.int64), np.empty(0, np.float32)
            elif table.lists is None:
                rows = np.flatnonzero(usable)
                cosines = _products(table.vectors[:size], query)[rows]
            else:
                rows = table.lists.near(query)
                rows = rows[rows < size]
                rows = rows[usable[rows]]
                cosines = table.cosines(query, rows)
            best = best_places(cosines, most)
            found.append(Alike(rows[best], cosines[best]))
        return found

    def cosines(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Of a query [D] and rows, float32 [N]; -1 where a row has no vector yet."""
        table = self._table
        known = rows < len(table.held)
        known[known] = table.held[rows[known]]
        found = np.full(len(rows), -1, np.float32)
        found[known] = table.cosines(query, rows[known])
        return found

    def mean(self, rows: NDArray[np.int64], weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """The weighted mean of rows' vectors [D]; those without one count as zeros."""
        table = self._table
        kept = rows < len(table.held)
        rows, weights = rows[kept], weights[kept]
        total = max(float(weights.sum()), 1e-9)
        sums: NDArray[np.float32] = (weights * table.scales[rows]) @ table.vectors[rows]
        return (sums / total).astype(np.float32, copy=False)


class _Lists:
    """Rows by the nearest centre of their vectors."""

    def __init__(self, centres: NDArray[np.float32]) -> None:
        self._centres = centres
        self._rows = [array("I") for _ in centres]

    def add(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        nearest = (vectors @ self._centres.T).argmax(axis=1)
        for row, centre in zip(rows.tolist(), nearest.tolist(), strict=True):
            self._rows[centre].append(row)

    def near(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        """Rows of the lists nearest to a query [D], rising."""
        closeness = _products(self._centres, query)
        probed = min(PROBED, len(closeness))
        nearest = np.argpartition(-closeness, probed - 1)[:probed]
        # Copies: an array whose buffer is lent, in another thread, cannot be appended to.
        rows = b"".join([self._rows[centre].tobytes() for centre in nearest.tolist()])
        return np.sort(np.frombuffer(rows, np.uint32).astype(np.int64))


def _products(vectors: NDArray[Any], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each of N vectors [N, D] with one [D]; on this thread alone.

    A matrix product would share so small a task out to threads that other workers' cores lack.
    """
    found: NDArray[np.float32] = np.vecdot(vectors.astype(np.float32, copy=False), query)
    return found


def _centres(vectors: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Centres of length 1 of a sample, by k-means."""
    import faiss  # takes a while to load, and few catalogues need it

    kmeans = faiss.Kmeans(
        vectors.shape[1], count, niter=8, seed=0, spherical=True, min_points_per_centroid=1
    )
    kmeans.train(vectors)
    centres: NDArray[np.float32] = kmeans.centroids
    return centres
