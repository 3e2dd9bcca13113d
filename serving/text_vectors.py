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
NOWHERE = -1
AT_ONCE = 4_096
"""Vectors that are put into lists at once."""


class Alike(NamedTuple):
    """Rows most alike to a query, best first, and the cosine of each."""

    rows: NDArray[np.int64]
    cosines: NDArray[np.float32]


class _Table(NamedTuple):
    """Vectors, and whose they are. Replaced as a whole, so that who reads meanwhile has what fits
    together."""

    vectors: NDArray[Any]
    """float32 or int8 [P, D]: rows of one text share one."""
    scales: NDArray[np.float32]
    """[P]: what a vector's numbers are multiples of."""
    places: NDArray[np.int32]
    """[R]: the place of each row's vector, ``NOWHERE`` of one that has none."""
    lists: "_Lists | None" = None

    def cosines(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        places = self.places[rows]
        return _products(self.vectors[places], query) * self.scales[places]

    def put(self, first: int, vectors: NDArray[np.float32]) -> None:
        here = slice(first, first + len(vectors))
        if self.vectors.dtype == np.int8:
            scales = np.maximum(np.abs(vectors).max(axis=1) / 127, 1e-9)
            self.scales[here] = scales
            vectors = np.rint(vectors / scales[:, None])
        self.vectors[here] = vectors

    def with_room(self, rows: int, vectors: int) -> "_Table":
        return _Table(
            _longer(self.vectors, vectors, 0),
            _longer(self.scales, vectors, 1),
            _longer(self.places, rows, NOWHERE),
            self.lists,
        )

    def in_lists(self, centres: int) -> "_Table":
        rows = np.flatnonzero(self.places != NOWHERE)
        chosen = np.random.default_rng(0).permutation(rows)[: TRAINED_ON * centres]
        lists = _Lists(_centres(self.vectors[self.places[chosen]], centres))
        vectors = np.zeros(self.vectors.shape, np.int8)
        table = _Table(vectors, np.ones(len(vectors), np.float32), self.places, lists)
        for start in range(0, len(vectors), AT_ONCE):
            table.put(start, self.vectors[start : start + AT_ONCE])
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE]
            lists.add(some, self.vectors[self.places[some]])
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
            np.full(FIRST_ROWS, NOWHERE, np.int32),
        )
        self._vectors = self._count = 0

    def __len__(self) -> int:
        """How many rows have one."""
        return self._count

    def put(
        self,
        rows: NDArray[np.int64],
        vectors: NDArray[np.float32],
        which: NDArray[np.int64] | None = None,
    ) -> None:
        """Set the vectors of N distinct rows that had none.

        Args:
            rows: int64 [N].
            vectors: float32 [M, D].
            which: of them is each row's, int64 [N]; None where each has its own.
        """
        if which is None:
            which = np.arange(len(rows))
        first, end = self._vectors, self._vectors + len(vectors)
        last = int(rows.max(initial=-1))
        if last >= len(self._table.places) or end > len(self._table.vectors):
            self._table = self._table.with_room(last + 1, end)
        table = self._table
        table.put(first, vectors)
        # Behind the vectors: whoever reads meanwhile finds whole ones.
        table.places[rows] = first + which
        self._vectors = end
        self._count += len(rows)
        if table.lists is not None:
            table.lists.add(rows, vectors[which])
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
        size = min(len(allowed), len(table.places))
        places = table.places[:size]
        usable = allowed[:size] & (places != NOWHERE)
        every = int(places.max(initial=NOWHERE)) + 1
        found = []
        for query in queries:
            if not query.any():
                rows, cosines = np.empty(0, np.int64), np.empty(0, np.float32)
            elif table.lists is None:
                rows = np.flatnonzero(usable)
                cosines = _products(table.vectors[:every], query)[places[rows]]
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
        known = rows < len(table.places)
        known[known] = table.places[rows[known]] != NOWHERE
        found = np.full(len(rows), -1, np.float32)
        found[known] = table.cosines(query, rows[known])
        return found

    def mean(self, rows: NDArray[np.int64], weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """The weighted mean of rows' vectors [D]; those without one count as zeros."""
        table = self._table
        kept = rows < len(table.places)
        places, weights = table.places[rows[kept]], weights[kept]
        total = max(float(weights.sum()), 1e-9)
        weights = np.where(places == NOWHERE, np.float32(0), weights * table.scales[places])
        sums: NDArray[np.float32] = weights @ table.vectors[places]
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


def _longer(values: NDArray[Any], size: int, free: int) -> NDArray[Any]:
    """The same with room for so many; by doubling."""
    room = len(values)
    if size <= room:
        return values
    room <<= ((size - 1) // room).bit_length()
    # Zeros that were never written to take no memory.
    longer = np.zeros((room, *values.shape[1:]), values.dtype)
    longer[: len(values)] = values
    if free:
        longer[len(values) :] = free
    return longer


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
