"""Content similarity: items that are described like those of the history.

The likeness of two items is the cosine of their bags of tokens, rarer tokens counting more (see
``model.content``); of the 300 items most like it, an item keeps the ``neighbours`` that score most.
An item's score is the sum over the history of history_decay ** age * cosine ** sharpness, and this
times (1 + its count) ** popularity_power: of two items that are alike, the one taken more often is
the better guess.
"""

from dataclasses import dataclass, replace
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from model.content import ItemContent
from model.method import Scores
from model.ragged import ranges
from model.ranks import Objective
from model.sequences import Sequences
from model.sparse_rows import SparseRows
from model.transitions import reach_of
from model.tuned import Tuned, Tuning

MOST_NEIGHBOURS = 300
"""Kept of each item; settings choose among these."""
PRODUCT_CELLS = 4_000_000
"""Cosines held at once, 32 MB."""


@dataclass(frozen=True)
class ContentSettings:
    """The knobs."""

    history_decay: float = 0.5
    sharpness: float = 2.0
    popularity_power: float = 0.3
    neighbours: int = MOST_NEIGHBOURS


GRID: dict[str, tuple[float, ...]] = {
    "sharpness": (0.5, 1.0, 1.5, 2.0, 3.0, 4.0),
    "popularity_power": (0.0, 0.15, 0.3, 0.45, 0.6, 0.8),
    "history_decay": (0.3, 0.5, 0.6, 0.7, 0.8, 0.9),
    "neighbours": (20, 50, 100, MOST_NEIGHBOURS),
}


class ContentNeighbours(Tuned[ContentSettings, NDArray[np.int64]]):
    """The method.

    Args:
        objective: what settings are chosen by.
        content: of all items, in the order of the sequences' ``item_ids``.
        tuning: see ``Tuned``.

    Raises:
        ValueError: by ``fit`` and ``refit``, when the content is of another catalogue.
    """

    DEFAULTS = ContentSettings()
    GRID = GRID

    def __init__(
        self,
        objective: Objective,
        content: ItemContent,
        **tuning: Unpack[Tuning[ContentSettings]],
    ) -> None:
        super().__init__(objective, **tuning)
        self._cosines = cosines(content, MOST_NEIGHBOURS)

    def scores(self, histories: Sequences) -> Scores:
        """[B, items]."""
        decay = self._settings.history_decay
        newest = histories.newest(reach_of(decay))
        weights = np.power(decay, newest.ages, dtype=np.float64)
        return self._table.weighted_sums(newest, weights)

    def _count(self, train: Sequences) -> NDArray[np.int64]:
        if train.item_count != len(self._cosines):
            raise ValueError(
                f"content of {len(self._cosines):,} items for a catalogue of {train.item_count:,}; "
                "give that of the same item_ids"
            )
        return train.counts()

    def _learn(self, counted: NDArray[np.int64]) -> None:
        settings, cosines = self._settings, self._cosines
        values = cosines.values.astype(np.float64) ** settings.sharpness
        values *= ((1.0 + counted) ** settings.popularity_power)[cosines.columns]
        nearest = replace(cosines, values=values.astype(np.float32))
        if settings.neighbours < MOST_NEIGHBOURS:
            nearest = nearest.strongest(int(settings.neighbours))
        self._table = nearest


def cosines(content: ItemContent, neighbours: int) -> SparseRows:
    """The items most alike of each item, itself left out, and their cosines."""
    size = len(content)
    owners = np.repeat(np.arange(size), np.diff(content.starts))
    order = np.argsort(content.tokens, kind="stable")
    holders, weights = owners[order], content.weights[order].astype(np.float64)
    firsts = np.searchsorted(content.tokens[order], np.arange(content.token_count + 1))
    step = max(1, PRODUCT_CELLS // size)
    rows, columns, values = [], [], []
    for start in range(0, size, step):
        end = min(start + step, size)
        cells = slice(int(content.starts[start]), int(content.starts[end]))
        tokens = content.tokens[cells]
        counts = firsts[tokens + 1] - firsts[tokens]
        places = ranges(firsts[tokens], counts)
        keys = np.repeat((owners[cells] - start) * size, counts) + holders[places]
        products = np.repeat(content.weights[cells], counts) * weights[places]
        block = np.bincount(keys, products, (end - start) * size).reshape(-1, size)
        block[np.arange(end - start), np.arange(start, end)] = 0
        kept = min(neighbours, size)
        best = np.sort(np.argpartition(block, -kept, axis=1)[:, -kept:], axis=1)
        found = np.take_along_axis(block, best, axis=1)
        alike = found > 0
        rows.append(np.nonzero(alike)[0] + start)
        columns.append(best[alike])
        values.append(found[alike])
    together = np.concatenate(rows) * size + np.concatenate(columns)
    return SparseRows.from_keys(together, np.concatenate(values).astype(np.float32), size)
