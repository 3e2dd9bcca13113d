"""Vectors of texts by catalogue row, and which of them are most alike to a query's.

Up to ``EXACT_ROWS`` all are compared, in one matrix product for all queries of a micro-batch. Beyond,
vectors are halved in precision and held in lists by the nearest of a thousand centres (an inverted
file; Jégou et al., "Product Quantization for Nearest Neighbor Search", 2011): a query looks into a few
lists, and a new vector is added to one, so that nothing is ever rebuilt.
"""

from array import array
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EXACT_ROWS = 131_072
"""A product with so many vectors of 256 numbers takes some ten milliseconds of a core."""
CENTRES = 1_024
PROBED = 48
"""Lists that a query looks into: about a twentieth of all."""
TRAINED_ON = 32
"""Vectors for each centre; what more brings is not seen in what is found."""


class Alike(NamedTuple):
    """Rows most alike to a query, best first, and the cosine of each."""

    rows: NDArray[np.int64]
    cosines: NDArray[np.float32]


class TextVectors:
    """A growing table of vectors of length 1. One thread writes, others may read meanwhile."""

    def __init__(
        self, dimensions: int, *, exact_rows: int = EXACT_ROWS, centres: int = CENTRES
    ) -> None:
        self._dimensions, self._exact_rows, self._centres = dimensions, exact_rows, centres
        self._vectors: NDArray[np.floating] = np.zeros((1024, dimensions), np.float32)
        self._held = np.zeros(1024, np.bool_)
        self._lists: _Lists | None = None

    def __len__(self) -> int:
        """How many rows have one."""
        return int(self._held.sum())

    def put(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Set the vectors [N, D] of distinct rows that had none."""
        self._reach(int(rows.max(initial=-1)) + 1)
        self._vectors[rows] = vectors
        # Behind the vectors: whoever reads meanwhile finds whole ones.
        self._held[rows] = True
        if self._lists is not None:
            self._lists.add(rows, vectors)
        elif len(self) > self._exact_rows:
            self._change_over()

    def nearest(
        self, queries: NDArray[np.float32], allowed: NDArray[np.bool_], most: int
    ) -> list[Alike]:
        """The rows most alike to each of Q vectors [Q, D].

        Args:
            queries: of length 1, or zeros, to which nothing is alike.
            allowed: bool [rows]; others are left out.
            most: how many at most for each.
        """
        vectors, lists, size = self._vectors, self._lists, min(len(allowed), len(self._held))
        usable = allowed[:size] & self._held[:size]
        if lists is None:
            rows = np.flatnonzero(usable)
            cosines = queries @ vectors[:size].T.astype(np.float32, copy=False)
            return [_best(rows, each[rows], most) if query.any() else _best(rows[:0], each[:0], 0)
                    for query, each in zip(queries, cosines, strict=True)]  # fmt: skip
        found = []
        for query in queries:
            rows = lists.near(query) if query.any() else np.empty(0, np.int64)
            rows = rows[rows < size]
            rows = rows[usable[rows]]
            found.append(_best(rows, vectors[rows].astype(np.float32) @ query, most))
        return found

    def cosines(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Of a query [D] and rows, float32 [N]; -1 where a row has no vector yet."""
        known = rows < len(self._held)
        known[known] = self._held[rows[known]]
        found = np.full(len(rows), -1, np.float32)
        found[known] = self._vectors[rows[known]].astype(np.float32, copy=False) @ query
        return found

    def mean(self, rows: NDArray[np.int64], weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """The weighted mean of rows' vectors [D]; rows without one count as zeros."""
        rows, weights = rows[rows < len(self._held)], weights[rows < len(self._held)]
        total = max(float(weights.sum()), 1e-9)
        mean: NDArray[np.float32] = weights @ self._vectors[rows].astype(np.float32) / total
        return mean

    def _reach(self, size: int) -> None:
        while size > len(self._held):
            self._vectors = np.concatenate([self._vectors, np.zeros_like(self._vectors)])
            self._held = np.concatenate([self._held, np.zeros_like(self._held)])

    def _change_over(self) -> None:
        rows = np.flatnonzero(self._held)
        chosen = np.random.default_rng(0).permutation(rows)[: TRAINED_ON * self._centres]
        lists = _Lists(_centres(self._vectors[chosen].astype(np.float32), self._centres))
        for start in range(0, len(rows), 4096):
            some = rows[start : start + 4096]
            lists.add(some, self._vectors[some].astype(np.float32))
        self._vectors = self._vectors.astype(np.float16)
        self._lists = lists


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
        closeness = self._centres @ query
        probed = min(PROBED, len(closeness))
        nearest = np.argpartition(-closeness, probed - 1)[:probed]
        rows = [np.array(self._rows[centre], np.int64) for centre in nearest.tolist()]
        return np.sort(np.concatenate(rows))


def _centres(vectors: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Centres of length 1 of a sample, by k-means."""
    import faiss  # takes a while to load, and few catalogues need it

    kmeans = faiss.Kmeans(
        vectors.shape[1], count, niter=8, seed=0, spherical=True, min_points_per_centroid=1
    )
    kmeans.train(vectors)
    centres: NDArray[np.float32] = kmeans.centroids
    return centres


def _best(rows: NDArray[np.int64], cosines: NDArray[np.float32], most: int) -> Alike:
    """The ``most`` greatest, greatest first; equal ones in row order."""
    if len(rows) > most:
        kept = np.sort(np.argpartition(-cosines, most - 1)[:most]) if most else rows[:0]
        rows, cosines = rows[kept], cosines[kept]
    order = np.argsort(-cosines, kind="stable")
    return Alike(rows[order], cosines[order])
