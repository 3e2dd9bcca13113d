"""Items that match a query: an inverted index in memory, updated item by item.

Tokens are the words of a text after Unicode compatibility folding; writing without spaces
(Chinese, Japanese, Korean, Thai) gives overlapping pairs of characters, and single ones. A symbol
such as an emoji is a token of its own.
"""

import re
import unicodedata
from array import array
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

# Han, kana, Hangul, Thai, Lao, Khmer, Myanmar: scripts whose words are not held apart by spaces,
# and Korean, whose endings stick to its words.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]+"
)
# Points of Hebrew and Arabic, which people leave out as they like; the Arabic line filler; the
# choice between a coloured and a plain emoji.
_OPTIONAL = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\ufe00-\ufe0f]"
)
_ASCII_WORD = re.compile("[a-z0-9]+")
_NO_LETTER = re.compile(r"[^\w\s]|_")


def tokens(text: str) -> list[str]:
    """The tokens of a text, in order, with repetitions."""
    if text.isascii():  # the same, several times as fast
        return _ASCII_WORD.findall(text.lower())
    folded = _OPTIONAL.sub("", unicodedata.normalize("NFKC", text).casefold())
    found: list[str] = []
    for word in _NO_LETTER.sub(_set_apart, folded).split():
        rest = 0
        for run in _UNSPACED.finditer(word):
            if run.start() > rest:
                found.append(word[rest : run.start()])
            rest = run.end()
            characters = run.group()
            found.extend(each for each in characters if each.isalnum())
            found.extend(a + b for a, b in pairwise(characters))
        if rest < len(word):
            found.append(word[rest:])
    return found


def _set_apart(match: re.Match[str]) -> str:
    """What stands for a character that Python counts neither as a letter nor as a space."""
    character = match.group()
    match unicodedata.category(character):
        case "Mn" | "Mc":  # vowel signs of Thai, Hindi and others: parts of their words
            return character
        case "So":
            return f" {character} "
        case _:
            return " "


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
