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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.features import FIRST_ITEM, PADDING
from model.fresh_items import FreshItems
from model.index_filter import BARRED, IndexFilter
from model.index_lists import Padding
from model.nearest import Nearest as Nearest
from model.nearest import best, nobody, products

ITEM_VECTORS = "item_vectors"
STATE_OUTPUTS = ("states", "candidate_scores")
"""Of the graph of ``model.state_graph``."""
SPARE = 5
"""Of so many that are asked for, one more is taken from the lists: eight bits order them nearly."""
FRESH_WIDER = 8
"""Times as many lists of fresh items are read, which are short: else one in a hundred is missed."""
SETTLED = 16
"""Changes, of 64 items at most, that a search takes in, where none but searches had the turn."""
NARROWING = 1.5
"""Where a share of the items may be recommended, so many times as many lists are read: one over the
share, to the power of this. The nearest of few lie far from a state, in lists that promise less: to
the power of 1, .95 of them were found, where a fifth of a million was left, in place of .98."""
NARROWING_NEW = 0.8
"""The same of new items, of which fewer are asked for: .98 of the best 20 are found, where twenty
thousand are new beside a million."""
FEW = 4
"""Times as many items are read out of lists in the time in which all are scored that are left."""
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


class ItemIndex:
    """Finds the items with the greatest inner products.

    Searches, ``upsert`` and ``remove`` may be called by several threads at once: searches take
    turns, and the other two wait for none. A search waits for a change of a few items at most.

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
        self._few: tuple[NDArray[np.int64], NDArray[np.float32]] | None = None
        self._has_changed = False
        self._turn = threading.Lock()
        self._next = threading.Lock()
        """Held by the search that waits for its turn."""
        self.first_new = -(-len(vectors) // 8) * 8
        """Row of ``upsert`` of the first row of a table of the caller's, see ``nearest_new``."""

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
        self._settle_between_searches()

    def remove(self, rows: NDArray[np.int64]) -> None:
        """Take items out, int64 [N]; no search finds them until they are put in again."""
        self._fresh.remove(rows)
        self._settle_between_searches()

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
        with self._searching():
            if self._filter.update(item_bias, bias_edition):
                self._few = None
            allowed = self._filter.count
            probed = self._probed_for(allowed)
            if allowed <= max(self._read_in(self.probed), self._read_in(probed) // FEW):
                return self._best_of_few(states, item_bias, count)
            padded = self._padding.states(states)
            return self._until_enough(
                len(states), count, probed,
                lambda users, most: self._searched(
                    padded[users], states[users], item_bias, count, most
                ),
            )  # fmt: skip

    def nearest_new(
        self, states: NDArray[np.float32], allowed: NDArray[np.bool_], count: int
    ) -> Nearest:
        """The best ``count`` of the items beyond the bundle's for each user, by exact scores.

        Args:
            states: float32 [B, D + 1], the last column 1.
            allowed: bool [R], which rows of a table of the caller's may be recommended; row ``r``
                of it was put in as ``first_new + r``.
            count: K.

        Returns:
            Rows of that table; -1 where there are not K.
        """
        import faiss

        with self._searching():
            if not len(self._fresh):
                return nobody(len(states), count, none=-1)
            bits = np.concatenate(
                [np.zeros(self.first_new // 8, np.uint8), np.packbits(allowed, bitorder="little")]
            )
            selected = faiss.IDSelectorBitmap(bits)
            padded = self._padding.states(states)

            def searched(users: NDArray[np.int64], most: int) -> Nearest:
                reach = faiss.SearchParametersIVF(sel=selected, nprobe=most)
                found = self._searched_fresh(padded[users], states[users], count, reach)
                return best(found.rows, found.scores, count, none=-1)

            probed = self._probed_for(len(self._fresh), NARROWING_NEW)
            made = self._until_enough(len(states), count, probed, searched, none=-1)
            return Nearest(np.where(made.rows < 0, -1, made.rows - self.first_new), made.scores)

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

    def _read_in(self, probed: int) -> int:
        """Items in so many lists: to score as few of them all costs no more."""
        return int(self._lists.ntotal) * probed // self.lists

    def _probed_for(self, allowed: int, narrowing: float = NARROWING) -> int:
        """Lists to read where so many may be recommended."""
        share = min(1.0, max(1, allowed) / max(1, int(self._lists.ntotal)))
        widened: float = self.probed / share**narrowing
        return min(round(widened), self.lists)

    @contextmanager
    def _searching(self) -> Iterator[None]:
        """The turn of a search, in which some of what waits is taken in first."""
        import faiss

        with self._next:
            self._turn.acquire()
        try:
            # OpenMP keeps the number for each thread that calls.
            faiss.omp_set_num_threads(self._threads)
            self._settle(SETTLED)
            yield
        finally:
            self._turn.release()

    def _settle(self, most: int) -> None:
        if self._fresh.waiting:
            rows = self._fresh.settle(most)
            self._has_changed |= bool((rows < len(self.vectors)).any())
            self._filter.take_out(rows)
            self._few = None

    def _settle_between_searches(self) -> None:
        """A little at a time, so that a search that comes now need not wait for all of it."""
        while (
            self._fresh.waiting and not self._next.locked() and self._turn.acquire(blocking=False)
        ):
            try:
                self._settle(1)
            finally:
                self._turn.release()

    def _until_enough(
        self,
        users: int,
        count: int,
        probed: int,
        search: Callable[[NDArray[np.int64], int], Nearest],
        none: int = PADDING,
    ) -> Nearest:
        """What a search of so many lists finds for each user, and of more lists for those who get
        too few."""
        found, left = nobody(users, count, none), np.arange(users)
        while len(left):
            some = search(left, probed)
            found.rows[left], found.scores[left] = some
            if probed == self.lists:
                break
            left = left[some.rows[:, -1] == none]
            probed = min(WIDER * probed, self.lists)
        return found

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

        wanted = _wanted(count)
        listed = faiss.SearchParametersIVF(
            sel=faiss.IDSelectorBitmap(self._filter.listed_bits), nprobe=probed
        )
        _, rows = self._lists.search(padded, wanted, params=listed)
        scores = products(states, self.vectors, rows)
        # Most often what is fresh is new, and beyond the biases that are asked for.
        reaches = self._has_changed or len(item_bias) > len(self.vectors)
        if reaches and len(self._fresh):
            free = faiss.SearchParametersIVF(
                sel=faiss.IDSelectorBitmap(self._filter.bits),
                nprobe=min(FRESH_WIDER * probed, self.lists),
            )
            more = self._searched_fresh(padded, states, count, free)
            rows, scores = np.hstack([rows, more.rows]), np.hstack([scores, more.scores])
        is_found = rows >= 0
        rows = np.where(is_found, rows, PADDING)
        scores += item_bias[rows]
        scores[~is_found] = 2 * BARRED
        return best(rows, scores, count)

    def _searched_fresh(
        self, padded: NDArray[np.float32], states: NDArray[np.float32], count: int, reach: Any
    ) -> Nearest:
        """Those in the lists of fresh items that ``reach`` reads, in no order; -1 for none."""
        rows, places = self._fresh.search(padded, _wanted(count), reach)
        scores = products(states, self._fresh.table, places)
        scores[rows < 0] = 2 * BARRED
        return Nearest(rows, scores)

    def _best_of_few(
        self, states: NDArray[np.float32], item_bias: NDArray[np.float32], count: int
    ) -> Nearest:
        """The best of all that may be recommended, exactly."""
        if self._few is None:
            allowed, listed = self._filter.allowed, self._filter.listed
            old = np.flatnonzero(allowed[: len(listed)] & listed)
            new = np.flatnonzero(allowed & self._fresh.holds(len(allowed)))
            vectors = np.concatenate([self.vectors[old], self._fresh.vectors(new)])
            self._few = np.concatenate([old, new]), vectors
        rows, vectors = self._few
        scores = states @ vectors.T + item_bias[rows]
        return best(np.broadcast_to(rows, scores.shape), scores, count)


def _wanted(count: int) -> int:
    return count + -(-count // SPARE)
