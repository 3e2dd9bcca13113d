"""Items that match a query: an inverted index in memory, updated item by item.

Tokens are the words of a text after Unicode compatibility folding; writing without spaces
(Chinese, Japanese, Korean, Thai) gives overlapping pairs of characters, and single ones.
"""

import re
import unicodedata
from array import array
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

# Han, kana, Hangul, Thai, Lao, Khmer, Myanmar: scripts whose words are not held apart by spaces.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\U00020000-\U0002ffff]+"
)
_WORDS = re.compile(r"\w+")


def tokens(text: str) -> list[str]:
    """The tokens of a text, in order, with repetitions."""
    found: list[str] = []
    for word in _WORDS.findall(unicodedata.normalize("NFKC", text).casefold()):
        rest = 0
        for run in _UNSPACED.finditer(word):
            if run.start() > rest:
                found.append(word[rest : run.start()])
            rest = run.end()
            characters = run.group()
            found.extend(characters)
            found.extend(a + b for a, b in pairwise(characters))
        if rest < len(word):
            found.append(word[rest:])
    return found


class SearchIndex:
    """Rows of texts by token. A row is written once; a changed text gets a new row."""

    def __init__(self) -> None:
        self._rows: dict[str, array[int]] = {}
        self._size = 0

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
        scores = np.zeros(self._size, dtype=np.float32)
        total = 0.0
        for token in sorted(wanted):
            rows = self._rows.get(token)
            held = len(rows) if rows is not None else 0
            weight = float(np.log(1 + self._size / (1 + held)))
            total += weight
            if rows is not None:
                scores[np.array(rows)] += weight
        scores[~allowed[: self._size]] = 0
        hits = np.flatnonzero(scores)
        best = hits[np.argsort(-scores[hits], kind="stable")[:most]]
        return best, scores[best] / np.float32(total or 1)
