"""Items that match a query: an inverted index of words in memory, updated item by item."""

from array import array

import numpy as np
from numpy.typing import NDArray

from model.words import tokens


class SearchIndex:
    """Rows of texts by token. A row is written once; a changed text gets a new row."""

    def __init__(self) -> None:
        self._rows: dict[str, array[int]] = {}
        self._size = 0
        # Kept from query to query: fresh pages of this size would cost more than the search.
        self._scores = np.empty(0, dtype=np.float32)

    def add(self, row: int, text: str) -> None:
        """Index the text of a row; rows come in rising order."""
        for token in set(tokens(text)):
            self._rows.setdefault(token, array("q")).append(row)
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
        wanted = set(tokens(query))
        if len(self._scores) < self._size:
            self._scores = np.empty(2 * self._size, dtype=np.float32)
        scores = self._scores[: self._size]
        scores.fill(0)
        total = 0.0
        for token in sorted(wanted):
            rows = self._rows.get(token)
            held = len(rows) if rows is not None else 0
            weight = float(np.log(1 + self._size / (1 + held)))
            total += weight
            if rows is not None:
                scores[np.array(rows)] += weight
        hits = np.flatnonzero((scores > 0) & allowed[: self._size])
        best = hits[np.argsort(-scores[hits], kind="stable")[:most]]
        return best, scores[best] / np.float32(total or 1)
