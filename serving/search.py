"""Items that match a query: an inverted index of words in memory, updated item by item.

A search costs what its rarer words are found in. Rows that hold a common word alone are not looked
at where enough others match better (Turtle and Flood, "Query Evaluation: Strategies and
Optimizations", 1995), so that a category of the whole catalogue does not cost the whole catalogue.
"""

from array import array

import numpy as np
from numpy.typing import NDArray

from model.words import tokens


class SearchIndex:
    """Rows of texts by token. A row is written once; a changed text gets a new row."""

    def __init__(self) -> None:
        # Most tokens of a large catalogue are in one text: a number takes a third of an array.
        self._rows: dict[str, int | array[int]] = {}
        self._size = 0
        # Zeros between queries: fresh pages of this size would cost more than the search.
        self._scores = np.zeros(0, dtype=np.float32)

    def add(self, row: int, text: str) -> None:
        """Index the text of a row; rows come in rising order."""
        for token in set(tokens(text)):
            held = self._rows.get(token)
            if held is None:
                self._rows[token] = row
            elif isinstance(held, int):
                self._rows[token] = array("I", (held, row))
            else:
                held.append(row)
        self._size = max(self._size, row + 1)

    def find(
        self, query: str, allowed: NDArray[np.bool_], most: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The rows that match a query best.

        Args:
            query: any text.
            allowed: bool [rows]; others are left out.
            most: how many at most.

        Returns:
            Rows int64 [N], best first, and the share of the query they cover, float32 in (0, 1]:
            each token weighs its inverse document frequency. Equal matches keep row order.
        """
        if len(self._scores) < self._size:
            self._scores = np.zeros(2 * self._size, dtype=np.float32)
        # Rare ones first, equal ones in one order: the sums are then the same in every process.
        held = sorted(((len(rows), token, rows) for token, rows in self._held(query)))
        weights = [float(np.log(1 + self._size / (1 + count))) for count, _, _ in held]
        hits = np.empty(0, np.int64)
        for at, (_, _, rows) in enumerate(held):
            hits = self._add(hits, rows, weights[at], sum(weights[at:]), allowed, most)
        # Runs of rising rows: a stable sort merges them.
        found = np.sort(hits[allowed[hits]], kind="stable")
        best = found[_best(self._scores[found], most)]
        match = self._scores[best] / np.float32(sum(weights) or 1)
        self._scores[hits] = 0
        return best, match

    def _held(self, query: str) -> list[tuple[str, NDArray[np.uint32]]]:
        """Each token of a query with its rows."""
        found = []
        for token in set(tokens(query)):
            rows = self._rows.get(token, ())
            some = (rows,) if isinstance(rows, int) else rows
            found.append((token, np.asarray(some, np.uint32)))
        return found

    def _add(
        self,
        hits: NDArray[np.int64],
        rows: NDArray[np.uint32],
        weight: float,
        rest: float,
        allowed: NDArray[np.bool_],
        most: int,
    ) -> NDArray[np.int64]:
        """Add a token's weight to its rows; returns the hits with those that are new.

        ``rest`` is the weight of this and all later tokens: no new row can come to more.
        """
        if not len(hits) and rest == weight:
            # All that match do so equally: the first ones stand on the list.
            rows = rows[allowed[rows]][:most]
        here = self._scores[hits][allowed[hits]]
        # The sums are rounded, each time by less than a millionth.
        if len(here) >= most and np.partition(here, len(here) - most)[-most] > 1.00001 * rest:
            places = np.minimum(np.searchsorted(rows, hits), len(rows) - 1)
            self._scores[hits[rows[places] == hits]] += np.float32(weight)
            return hits
        fresh = rows[self._scores[rows] == 0]
        self._scores[rows] += np.float32(weight)
        return np.concatenate([hits, fresh])


def _best(scores: NDArray[np.float32], most: int) -> NDArray[np.int64]:
    """Places of the greatest, greatest first, equal ones in their order."""
    if len(scores) <= most:
        return np.argsort(-scores, kind="stable")
    least = np.partition(scores, len(scores) - most)[-most]
    above = np.flatnonzero(scores > least)
    equal = np.flatnonzero(scores == least)[: most - len(above)]
    first = np.concatenate([above, equal])
    return first[np.argsort(-scores[first], kind="stable")]
