"""Vectors of catalogue items that the network has not learned, made of their content at ingestion.

A bundle with an item tower can so score an item as soon as its ``catalog`` record is read. A row
keeps the vector that it got: another title, category or brand is another row, and a price that
changes in place does not change it.

Where the worker searches an index, the new items are put into it, and all of them are searched;
else those that came last.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.cold_items import BATCH, MOST_COLD, ColdItems, ItemTower, NearestCold
from model.features import UNKNOWN
from model.item_index import ItemIndex
from serving.candidates import CandidateTable
from serving.catalog import Catalog
from serving.ranker import Scores

INDEXED_AT_ONCE = 128
"""To find the closest of 8,000 centres for so many items takes some 6 ms."""
SCORED = 16_384
"""Of so many, a product with all takes a list 60 microseconds in a micro-batch, a search of the
index more."""


class NewItemVectors:
    """What a bundle's tower says of the rows of a catalogue.

    Args:
        tower: the graph, see ``model.tower_export``.
        catalog: whose rows they are.
        index: that the worker searches, which the items are put into; None where all are scored.
    """

    def __init__(self, tower: Path, catalog: Catalog, index: ItemIndex | None = None) -> None:
        self._catalog = catalog
        self._tower = ItemTower(tower)
        self._cold = ColdItems(self._tower.width)
        self._index = index
        self._at_once = BATCH if index is None else INDEXED_AT_ONCE
        self._done = 0

    def __len__(self) -> int:
        """How many rows have a vector."""
        return len(self._cold)

    @property
    def waiting(self) -> bool:
        """Whether there are rows that were not looked at yet."""
        return self._done < len(self._catalog.items)

    def take_in(self) -> None:
        """Look at the next rows, as many as are made at once; call while ``waiting``.

        Some 12 ms, so that a worker that reads a whole catalogue goes on with other work between.
        """
        catalog, items = self._catalog, self._catalog.items
        until = min(self._done + self._at_once, len(items))
        is_new = catalog.model_rows[self._done : until] == UNKNOWN
        rows = [
            row
            for row in (np.flatnonzero(is_new) + self._done).tolist()
            # What is not available now may be tomorrow; what was replaced or removed may not.
            if catalog.row_of(items[row].item_id) == row
        ]
        vectors = self._tower.vectors([items[row] for row in rows])
        self._cold.put(np.array(rows, np.int64), vectors)
        if self._index is not None and rows:
            self._index.upsert(self._index.first_new + np.array(rows, np.int64), vectors)
        self._done = until

    def scores(self, table: CandidateTable, found: Scores) -> NDArray[np.float32]:
        """Of N candidates, float32 [N]: the network's, and the tower's of new items."""
        scores = found.candidate_scores[table.cells]
        return self.rescored(scores, found, table.owner, table.pool.rows)

    def rescored(
        self,
        scores: NDArray[np.float32],
        found: Scores,
        owner: NDArray[np.int64],
        rows: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """The same, of N rows of the catalogue that are scored for the lists ``owner``."""
        assert found.states is not None, "a bundle with a tower has a graph with states"
        return self._cold.rescored(scores, found.states, owner, rows)

    def scores_of(
        self, rows: NDArray[np.int64], scores: NDArray[np.float32], found: Scores
    ) -> NDArray[np.float32]:
        """The same of rows that each of L lists has beside its candidates, both [L, G]; -1 is no
        row."""
        at = rows >= 0
        owner = np.broadcast_to(np.arange(len(rows))[:, None], rows.shape)
        scores = scores.copy()
        scores[at] = self.rescored(scores[at], found, owner[at], rows[at])
        return scores

    def nearest(self, found: Scores) -> NearestCold:
        """The nearest new items of L lists, best first; in any thread."""
        assert found.states is not None, "a bundle with a tower has a graph with states"
        if self._index is None:
            return self._cold.nearest(found.states, self._catalog.usable)
        if len(self._cold) <= SCORED:
            return self._cold.nearest(found.states, self._catalog.usable, SCORED)
        return NearestCold(*self._index.nearest_new(found.states, self._catalog.allowed, MOST_COLD))
