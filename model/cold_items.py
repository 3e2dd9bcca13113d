"""Items outside the vocabulary, scored by vectors that were made of their content.

The only implementation, for evaluation and serving; the caller brings rows of a table of its own:
rows of the live catalogue in a worker, positions in a log where a log is judged.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from model.dataset import EventLog
from model.features import UNKNOWN, Vocabulary
from model.item_tokens import token_table
from model.items import Item
from model.signals import RowMask

NEWEST = 4_096
"""Of the items outside the vocabulary so many, those that came last, are looked through for every
list: beside a network's run, a product with them costs some 30 µs a list. The older ones have had
their time to be learned, and are scored where another source proposes them."""
MOST_COLD = 20
"""Such items that join a list's nearest: twice a list."""
BATCH = 1_024
"""Items of one run of the tower."""
BLOCK = 64
"""Columns of which the greatest score is looked at first."""
FREE = -1


class ItemTower:
    """The graph of ``model.tower_export`` on ONNX Runtime, on the CPU: it is small, and runs when
    the catalogue changes.

    Args:
        graph: the file.
        threads: of one run.
    """

    def __init__(self, graph: Path, *, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(graph), options, providers=["CPUExecutionProvider"]
        )
        self.width = int(self._session.get_outputs()[0].shape[1])
        """D + 1."""

    def vectors(self, items: Sequence[Item]) -> NDArray[np.float32]:
        """float32 [N, D + 1] of N items, the last column their bias."""
        made = [np.empty((0, self.width), np.float32)]
        for start in range(0, len(items), BATCH):
            tokens = token_table(items[start : start + BATCH])
            made += self._session.run(None, {"tokens": tokens})
        return np.concatenate(made)


class NearestCold(NamedTuple):
    """The best items outside the vocabulary, of L lists."""

    rows: NDArray[np.int64]
    """[L, K] of the caller's table, best first; -1 where there are not K that may be listed."""
    scores: NDArray[np.float32]
    """[L, K]"""


class ColdItems:
    """Vectors of rows that the network has not learned.

    Args:
        width: D + 1.
    """

    def __init__(self, width: int) -> None:
        self._vectors = np.zeros((BATCH, width), np.float32)
        self._rows = np.full(BATCH, FREE, np.int64)
        self._place = np.full(BATCH, FREE, np.int64)
        self._count = 0

    def __len__(self) -> int:
        """How many rows have a vector."""
        return self._count

    def put(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Give rows [N] that have none yet a vector each, float32 [N, D + 1]."""
        end = self._count + len(rows)
        if end > len(self._rows):
            room = max(2 * len(self._rows), end)
            self._vectors = _grown(self._vectors, room, 0)
            self._rows = _grown(self._rows, room, FREE)
        if len(rows) and (highest := int(rows.max())) >= len(self._place):
            self._place = _grown(self._place, max(2 * len(self._place), highest + 1), FREE)
        self._vectors[self._count : end] = vectors
        self._rows[self._count : end] = rows
        self._place[rows] = np.arange(self._count, end)
        self._count = end

    def rescored(
        self,
        scores: NDArray[np.float32],
        states: NDArray[np.float32],
        owner: NDArray[np.int64],
        rows: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Scores of candidates, those of rows with a vector here by that vector.

        Args:
            scores: the network's, float32 [N].
            states: of the users of L lists, float32 [L, D + 1], the last column 1.
            owner: int64 [N], whose candidate it is.
            rows: int64 [N].
        """
        within = np.flatnonzero(rows < len(self._place))
        places = self._place[rows[within]]
        held = places != FREE
        if not held.any():
            return scores
        found, places = within[held], places[held]
        again = scores.copy()
        again[found] = np.einsum("nd,nd->n", states[owner[found]], self._vectors[places])
        return again

    def nearest(
        self, states: NDArray[np.float32], usable: RowMask, looked_at: int = NEWEST
    ) -> NearestCold:
        """The best ``MOST_COLD`` for each of L lists; args as in ``rescored``.

        Args:
            usable: which rows may be recommended now.
            looked_at: so many of the items, those that came last.
        """
        newest = slice(max(self._count - looked_at, 0), self._count)
        rows = self._rows[newest]
        may = usable(rows)
        most = min(MOST_COLD, int(np.count_nonzero(may)))
        if not most:
            return NearestCold(
                np.empty((len(states), 0), np.int64), np.empty((len(states), 0), np.float32)
            )
        scores = states @ self._vectors[newest].T
        if not may.all():
            # In place: to leave those out first would copy all the vectors.
            scores[:, ~may] = -np.inf
        best = _best_columns(scores, most)
        return NearestCold(rows[best], np.take_along_axis(scores, best, axis=1))


def cold_positions(
    tower: Path, items: Sequence[Item], log: EventLog, vocabulary: Vocabulary
) -> ColdItems:
    """Vectors of the items of a log that are outside a vocabulary, in the order of their ids.

    Args:
        tower: the graph.
        items: the catalogue; items that the log does not name are passed over.
        log: whose positions stand for the rows of a catalogue.
        vocabulary: of the network.
    """
    maker = ItemTower(tower, threads=os.cpu_count() or 1)
    cold = ColdItems(maker.width)
    item_of = {item.item_id: item for item in items}
    outside = np.flatnonzero(vocabulary.index_of(log.hashes) == UNKNOWN)
    known = [row for row in outside.tolist() if log.item_ids[row] in item_of]
    found = maker.vectors([item_of[log.item_ids[row]] for row in known])
    cold.put(np.array(known, np.int64), found)
    return cold


def _best_columns(scores: NDArray[np.float32], most: int) -> NDArray[np.int64]:
    """The columns of the ``most`` greatest of each row of [L, N], int64 [L, most], the greatest
    first and of equals the first.

    Of blocks of columns, ``most`` have a greatest that reaches the bar: so no other column matters
    than the few that reach it. To partition whole rows would take ten times as long.
    """
    lists, count = scores.shape
    if (blocks := count // BLOCK) > most:
        # Every so many columns are a block: so the greatest of all of them are found side by side.
        greatest = scores[:, : blocks * BLOCK].reshape(lists, BLOCK, blocks).max(axis=1)
        bars = np.partition(greatest, blocks - most, axis=1)[:, blocks - most]
        hopeful = np.flatnonzero(scores >= bars[:, None])
    else:
        hopeful = np.arange(scores.size)
    owner, columns = np.divmod(hopeful, count)
    order = np.lexsort((columns, -scores.reshape(-1)[hopeful], owner))
    starts = np.searchsorted(owner, np.arange(lists))
    best: NDArray[np.int64] = columns[order[starts[:, None] + np.arange(most)]]
    return best


def _grown(values: np.ndarray, room: int, free: int) -> np.ndarray:
    """The same with more room."""
    grown = np.full((room, *values.shape[1:]), free, values.dtype)
    grown[: len(values)] = values
    return grown
