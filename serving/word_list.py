"""The words of a catalogue, and which of them a mistyped word was meant to be.

Words are held in columns by their length. A word of at most k typing errors differs from the right
one in at most 2 k bits of its signature, the set of its letters (signature hashing; Boytsov,
"Indexing Methods for Approximate Dictionary Searching", 2011): that leaves few of which the
distance is counted, all at once.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LONGEST = 24
"""Longer words are names of no spelling; nobody types them."""


class Nearby(NamedTuple):
    """A word of the catalogue, and by how many typing errors another one differs from it."""

    word: str
    errors: int


class WordList:
    """Words in columns; only ever added."""

    def __init__(self) -> None:
        self._of_length: dict[int, _Words] = {}

    def add(self, word: str) -> None:
        """Add a word that is not held yet; one that nobody could mistype is passed over."""
        if may_be_mistyped(word):
            words = self._of_length.get(len(word))
            if words is None:
                words = self._of_length[len(word)] = _Words(len(word))
            words.add(word)

    def nearby(self, word: str) -> list[Nearby]:
        """Words of at most as many typing errors as a word of that length is granted.

        An error is a letter that is missing, added or another, or two letters that changed places
        (optimal string alignment). The order is that of length, then of addition.
        """
        most = errors_granted(word)
        if not most:
            return []
        letters = _letters(word)
        found: list[Nearby] = []
        for length in range(len(word) - most, len(word) + most + 1):
            if words := self._of_length.get(length):
                found += words.nearby(letters, most)
        return found

    def beginning_with(self, start: str) -> list[str]:
        """Longer words that begin so."""
        letters = _letters(start)
        return [
            word
            for length, words in sorted(self._of_length.items())
            if length > len(start)
            for word in words.beginning_with(letters)
        ]


def may_be_mistyped(word: str) -> bool:
    """Whether it is made of letters, and as long as a word with errors has to be."""
    return 3 <= len(word) <= LONGEST and word.isalpha()


def errors_granted(word: str) -> int:
    """Two for long words, one for words of three to five letters, none for others."""
    if not may_be_mistyped(word):
        return 0
    return 1 if len(word) <= 5 else 2


class _Words:
    """Words of one length."""

    def __init__(self, length: int) -> None:
        self._count = 0
        self._letters = np.zeros((16, length), np.uint32)
        self._signatures = np.zeros(16, np.uint64)

    def add(self, word: str) -> None:
        if self._count == len(self._letters):
            self._letters = np.concatenate([self._letters, np.zeros_like(self._letters)])
            self._signatures = np.concatenate([self._signatures, np.zeros_like(self._signatures)])
        self._letters[self._count] = letters = _letters(word)
        self._signatures[self._count] = _signature(letters)
        self._count += 1

    def nearby(self, letters: NDArray[np.uint32], most: int) -> list[Nearby]:
        differing = np.bitwise_count(self._signatures[: self._count] ^ _signature(letters))
        places = np.flatnonzero(differing <= 2 * most)
        errors = _errors(self._letters[places], letters)
        near = errors <= most
        return [
            Nearby(self._word(place), count)
            for place, count in zip(places[near].tolist(), errors[near].tolist(), strict=True)
        ]

    def beginning_with(self, letters: NDArray[np.uint32]) -> list[str]:
        held = self._letters[: self._count, : len(letters)]
        return [
            self._word(place) for place in np.flatnonzero((held == letters).all(axis=1)).tolist()
        ]

    def _word(self, place: int) -> str:
        return "".join(map(chr, self._letters[place].tolist()))


def _letters(word: str) -> NDArray[np.uint32]:
    return np.frombuffer(word.encode("utf-32-le"), "<u4")


def _signature(letters: NDArray[np.uint32]) -> np.uint64:
    """A bit for each letter that occurs; letters of most alphabets have bits of their own."""
    bits = np.uint64(1) << (letters.astype(np.uint64) & np.uint64(63))
    return np.uint64(np.bitwise_or.reduce(bits))


def _errors(words: NDArray[np.uint32], typed: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Optimal string alignment distance of each of W words [W, L] to the typed one, int64 [W]."""
    count, length = words.shape
    before = np.zeros((length + 1, count), np.int64)
    last = np.repeat(np.arange(length + 1)[:, None], count, axis=1)
    for number, letter in enumerate(typed.tolist(), 1):
        this = np.empty_like(last)
        this[0] = number
        for at in range(1, length + 1):
            differs = words[:, at - 1] != letter
            least = np.minimum(last[at] + 1, this[at - 1] + 1)
            np.minimum(least, last[at - 1] + differs, out=least)
            if number > 1 and at > 1:
                swapped = (words[:, at - 2] == letter) & (words[:, at - 1] == typed[number - 2])
                np.minimum(least, np.where(swapped, before[at - 2] + 1, least), out=least)
            this[at] = least
        before, last = last, this
    return last[length]
