"""Items that came, or whose vectors changed, since the lists of a ``model.item_index`` were made.

They stand in lists of their own around the same centres, in this process alone and small beside
those of the bundle, which nobody changes. So an item is found by the next search after it came,
and nothing is ever made anew. Changes wait in a queue until somebody has the turn to take them in:
who brings them waits for no search, and what takes long, to find the closest centre, is done where
they come from.
"""

from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.features import FIRST_ITEM
from model.index_lists import Padding, centres_of

ABSENT = -1
"""Slot of a row that is not here, and centre of one that is to be removed."""
ROOM = 2
"""Times the bundle's rows for which there is a slot number at once: untouched, it is no memory."""
FIRST_SLOTS = 1024
AT_ONCE = 64
"""Items that are taken in together: some tens of microseconds, in which no search goes on."""


class _Change(NamedTuple):
    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]
    """[N, D + 1]"""
    centres: NDArray[np.int64]


class FreshItems:
    """The items of this process.

    ``put`` and ``remove`` may be called by any thread at any time; everything else by one thread at
    a time.

    Args:
        lists: of the bundle.
        padding: of its vectors.
        threads: of ``put``.
    """

    def __init__(self, lists: Any, padding: Padding, *, threads: int) -> None:
        import faiss

        self._padding, self._threads = padding, threads
        self._centres = centres_of(lists.quantizer)
        self._lists = faiss.IndexIVFScalarQuantizer(
            lists.quantizer, lists.d, lists.nlist, lists.sq.qtype, lists.metric_type, False
        )
        self._lists.sq = lists.sq
        self._lists.is_trained = True
        self._lists.set_direct_map_type(faiss.DirectMap.Hashtable)
        self._waiting: deque[_Change] = deque()
        # One more than the slot: zeros take memory where they are written to, and nowhere else.
        self._after_slot = np.zeros(ROOM * (FIRST_ITEM + lists.ntotal), np.int32)
        # As many as the bundle has find room without a copy, during which nobody could search.
        room = max(FIRST_SLOTS, FIRST_ITEM + lists.ntotal)
        self._vectors = np.zeros((room, padding.dim + 1), np.float32)
        self._slots_used = 0
        self._free: list[int] = []

    def __len__(self) -> int:
        return int(self._lists.ntotal)

    @property
    def waiting(self) -> int:
        """Changes of ``AT_ONCE`` items at most that were not taken in yet."""
        return len(self._waiting)

    def put(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Queue items, new or changed; of a row that comes twice the last vector counts.

        Args:
            rows: int64 [N].
            vectors: float32 [N, D + 1].

        Raises:
            ValueError: there is not one vector of this width for each row, or one is no number.
        """
        import faiss

        if vectors.shape != (len(rows), self._padding.dim + 1):
            raise ValueError(
                f"{len(rows)} rows, and vectors of shape {vectors.shape}; expected "
                f"{(len(rows), self._padding.dim + 1)}"
            )
        if not np.isfinite(vectors).all():
            raise ValueError("a vector holds what is no number")
        faiss.omp_set_num_threads(self._threads)
        _, centres = faiss.knn(self._padding.items(vectors), self._centres, 1)
        self._queue(_Change(rows.copy(), vectors.copy(), centres[:, 0]))

    def remove(self, rows: NDArray[np.int64]) -> None:
        """Queue the removal of items, int64 [N]; those that are not here are no error."""
        nothing = np.zeros((len(rows), self._padding.dim + 1), np.float32)
        self._queue(_Change(rows.copy(), nothing, np.full(len(rows), ABSENT)))

    def settle(self, most: int) -> NDArray[np.int64]:
        """Take in so many waiting changes, the oldest first. Returns the rows that were put or
        removed, int64 [N]."""
        taken: list[_Change] = []
        while self._waiting and len(taken) < most:
            taken.append(self._waiting.popleft())
        if not taken:
            return np.zeros(0, np.int64)
        every = _Change(*map(np.concatenate, zip(*taken, strict=True)))
        rows, from_end = np.unique(every.rows[::-1], return_index=True)
        last = len(every.rows) - 1 - from_end
        self._drop(rows)
        is_put = every.centres[last] != ABSENT
        self._add(_Change(rows[is_put], every.vectors[last[is_put]], every.centres[last[is_put]]))
        return rows

    def holds(self, count: int) -> NDArray[np.bool_]:
        """bool [count]: which of the first rows are here."""
        held = np.zeros(count, np.bool_)
        known = self._after_slot[:count]
        held[: len(known)] = known != 0
        return held

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [N, D + 1] of rows that are here."""
        return self._vectors[self._slots(rows)]

    def search(
        self, padded: NDArray[np.float32], count: int, reach: Any
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The best ``count`` items in the lists that ``reach`` reads.

        Returns:
            Rows int64 [B, count], -1 for none, and where their vectors are in ``table``.
        """
        _, rows = self._lists.search(padded, count, params=reach)
        return rows, np.where(rows >= 0, self._slots(rows), ABSENT)

    @property
    def table(self) -> NDArray[np.float32]:
        """float32 [slots, D + 1], see ``search``."""
        return self._vectors

    def _queue(self, change: _Change) -> None:
        for start in range(0, len(change.rows), AT_ONCE):
            here = slice(start, start + AT_ONCE)
            self._waiting.append(
                _Change(change.rows[here], change.vectors[here], change.centres[here])
            )

    def _slots(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._after_slot[rows].astype(np.int64) - 1

    def _drop(self, rows: NDArray[np.int64]) -> None:
        """Of sorted rows those that are here."""
        import faiss

        if rows[-1] >= len(self._after_slot):
            longer = np.zeros(ROOM * (int(rows[-1]) + 1), np.int32)
            longer[: len(self._after_slot)] = self._after_slot
            self._after_slot = longer
        slots = self._slots(rows)
        is_held = slots != ABSENT
        held = np.ascontiguousarray(rows[is_held])
        if len(held):
            self._lists.remove_ids(faiss.IDSelectorArray(len(held), faiss.swig_ptr(held)))
            self._free += slots[is_held].tolist()
            self._after_slot[held] = 0

    def _add(self, change: _Change) -> None:
        import faiss

        count = len(change.rows)
        if not count:
            return
        slots = self._free[:count]
        del self._free[:count]
        end = self._slots_used + count - len(slots)
        slots += range(self._slots_used, end)
        self._slots_used = end
        if end > len(self._vectors):
            longer = np.zeros((ROOM * end, self._vectors.shape[1]), np.float32)
            longer[: len(self._vectors)] = self._vectors
            self._vectors = longer
        self._vectors[slots] = change.vectors
        self._after_slot[change.rows] = np.array(slots) + 1
        padded = self._padding.items(change.vectors)
        arrays = (padded, *map(np.ascontiguousarray, (change.rows, change.centres)))
        self._lists.add_core(count, *map(faiss.swig_ptr, arrays))
