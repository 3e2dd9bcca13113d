"""An approximate index of the item vectors: the nearest of millions without a product with all.

An inverted file (Jegou et al., "Product Quantization for Nearest Neighbor Search", 2011; faiss,
Douze et al., "The Faiss library", 2024): vectors are kept in lists by the centre that they are
closest to, eight bits a number, and a search reads the lists of the centres that promise most. What
it finds is scored again with the exact vectors: only which items are found is approximate, never
their scores. What may not be recommended is left out of the search itself.

The files of a bundle are mapped and never written, so that the workers of a machine have them in
memory once. What changes later stands beside them, see ``model.fresh_items``.
"""

import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.features import FIRST_ITEM, PADDING
from model.fresh_items import FreshItems
from model.index_filter import BARRED, IndexFilter
from model.index_lists import Padding

ITEM_VECTORS = "item_vectors"
STATE_OUTPUTS = ("states", "candidate_scores")
"""Of the graph of ``model.state_graph``."""
SPARE = 5
"""Of so many that are asked for, one more is taken from the lists: eight bits order them nearly."""
FRESH_WIDER = 8
"""Times as many lists of fresh items are read, which are short: else one in a hundred is missed."""
MOST_WAITING = 1024
"""Changes that wait for a search to take them in."""
WIDER = 4
"""Times as many lists, where those that were read hold too few items that may be recommended."""


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


def recall(found: NDArray[np.int64], nearest: NDArray[np.int64]) -> float:
    """Share of the exact nearest, [B, K], that were found, [B, any]."""
    pairs = zip(found, nearest, strict=True)
    return float(np.mean([np.isin(exact, ours).mean() for ours, exact in pairs]))


class ItemIndex:
    """Finds the items with the greatest inner products.

    Searches, ``upsert`` and ``remove`` may be called by several threads at once: searches take
    turns, and the other two wait for none.

    Args:
        lists: a faiss inverted file with inner products, see ``model.index_lists``.
        vectors: float32 [V, D + 1], see ``model.state_graph``.
        threads: of one search.
    """

    def __init__(self, lists: Any, vectors: NDArray[np.float32], *, threads: int) -> None:
        self._lists = lists
        self.vectors = np.ascontiguousarray(vectors)
        """What the bundle has; not what was put in since."""
        self._threads = threads
        self._padding = Padding.of_lists(self.vectors, lists.d)
        self._fresh = FreshItems(lists, self._padding, threads=threads)
        listed = np.ones(len(vectors), np.bool_)
        listed[:FIRST_ITEM] = False
        self._filter = IndexFilter(listed)
        self._turn = threading.Lock()

    @classmethod
    def read(cls, files: IndexFiles, *, threads: int) -> "ItemIndex":
        """The index of a bundle; vectors and lists stay in their files, which workers share in
        memory.

        Raises:
            RuntimeError: a file is no such index, or the two do not go together.
        """
        import faiss  # only workers whose bundle has an index need its 15 MB

        vectors = np.asarray(np.load(files.vectors, mmap_mode="r", allow_pickle=False))
        flags = faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY
        lists = faiss.read_index(str(files.lists), flags)
        if not isinstance(lists, faiss.IndexIVFScalarQuantizer):
            raise RuntimeError(
                f"{files.lists} was made by another nextclick; run `nextclick train` again"
            )
        if lists.ntotal != len(vectors) - FIRST_ITEM or lists.d < vectors.shape[1]:
            raise RuntimeError(
                f"{files.lists} holds {lists.ntotal} items of {lists.d} numbers, {files.vectors} "
                f"is of shape {vectors.shape}; copy the whole bundle again"
            )
        # What is mapped needs nobody to fetch it: faiss would start 32 threads for each search.
        faiss.downcast_InvertedLists(lists.invlists).prefetch_nthread = 0
        return cls(lists, vectors, threads=threads)

    def upsert(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Put items in, new ones or other vectors of known ones: the next search finds them.

        It takes about as long for an item as a search does for a user; many at once are cheaper.

        Args:
            rows: int64 [N]; from V on, items that the bundle does not know. A search finds a row if
                its biases reach that far.
            vectors: float32 [N, D + 1], the last column the bias.

        Raises:
            ValueError: a row is no item's, or a vector is of another width or holds no numbers.
        """
        if len(rows) and rows.min() < FIRST_ITEM:
            raise ValueError(f"row {rows.min()} is no item's; they begin at {FIRST_ITEM}")
        self._fresh.put(rows, vectors)
        self._settle_if_full()

    def remove(self, rows: NDArray[np.int64]) -> None:
        """Take items out, int64 [N]; no search finds them until they are put in again."""
        self._fresh.remove(rows)
        self._settle_if_full()

    def nearest(
        self,
        states: NDArray[np.float32],
        item_bias: NDArray[np.float32],
        count: int,
        bias_edition: int | None = None,
    ) -> Nearest:
        """The best ``count`` items of each user.

        The search passes over what is barred. Where the lists that it reads hold fewer than
        ``count`` other items, it reads more, in the end all: no user gets fewer than there are.

        Args:
            states: float32 [B, D + 1], the last column 1.
            item_bias: float32 [at least V], added to the scores: 0, or about -1e9 for what is
                barred, as every row behind its end is.
            count: K.
            bias_edition: another number whenever what ``item_bias`` holds has changed; None has it
                read anew.

        Raises:
            ValueError: the bias is of another catalogue.
        """
        import faiss

        with self._turn:
            # OpenMP keeps the number for each thread that calls.
            faiss.omp_set_num_threads(self._threads)
            self._settle()
            self._filter.update(item_bias, bias_edition)
            if self._filter.count <= self._read_by_a_search:
                return self._best_of_few(states, item_bias, count)
            padded = self._padding.states(states)
            probed = self._probed_for(self._filter.count)
            found = _nobody(len(states), count)
            users = np.arange(len(states))
            while len(users):
                best = self._searched(padded[users], states[users], item_bias, count, probed)
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
        """Write the lists of the bundle, not the vectors; a file there may be in use still."""
        import faiss

        file.unlink(missing_ok=True)  # who has it mapped keeps it as it was
        faiss.write_index(self._lists, str(file))

    @property
    def _read_by_a_search(self) -> int:
        """Items: to score as few of them all costs no more."""
        return int(self._lists.ntotal) * self.probed // self.lists

    def _probed_for(self, allowed: int) -> int:
        """Lists to read where so many may be recommended: as many of those as of all otherwise."""
        share = min(1.0, allowed / max(1, int(self._lists.ntotal)))
        return min(round(self.probed / share), self.lists)

    def _settle(self) -> None:
        if self._fresh.waiting:
            self._filter.take_out(self._fresh.settle())

    def _settle_if_full(self) -> None:
        """Where nobody searches, what waits would grow without end; whoever searches settles."""
        if self._fresh.waiting >= MOST_WAITING and self._turn.acquire(blocking=False):
            try:
                self._settle()
            finally:
                self._turn.release()

    def _searched(
        self,
        padded: NDArray[np.float32],
        states: NDArray[np.float32],
        item_bias: NDArray[np.float32],
        count: int,
        probed: int,
    ) -> Nearest:
        """The best in so many lists, by their exact scores."""
        import faiss

        wanted = count + -(-count // SPARE)
        listed, free = (
            faiss.SearchParametersIVF(sel=faiss.IDSelectorBitmap(bits), nprobe=most)
            for bits, most in (
                (self._filter.listed_bits, probed),
                (self._filter.bits, min(FRESH_WIDER * probed, self.lists)),
            )
        )
        _, rows = self._lists.search(padded, wanted, params=listed)
        scores = _products(states, self.vectors, rows)
        if len(self._fresh):
            more, places = self._fresh.search(padded, wanted, free)
            rows = np.hstack([rows, more])
            scores = np.hstack([scores, _products(states, self._fresh.table, places)])
        is_found = rows >= 0
        rows = np.where(is_found, rows, PADDING)
        scores += item_bias[rows]
        scores[~is_found] = 2 * BARRED
        return _best(rows, scores, count)

    def _best_of_few(
        self, states: NDArray[np.float32], item_bias: NDArray[np.float32], count: int
    ) -> Nearest:
        """The best of all that may be recommended, exactly."""
        allowed, listed = self._filter.allowed, self._filter.listed
        old = np.flatnonzero(allowed[: len(listed)] & listed)
        new = np.flatnonzero(allowed & self._fresh.holds(len(allowed)))
        rows = np.concatenate([old, new])
        vectors = np.concatenate([self.vectors[old], self._fresh.vectors(new)])
        scores = states @ vectors.T + item_bias[rows]
        return _best(np.broadcast_to(rows, scores.shape), scores, count)


def _products(
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
