"""A number for each of many item hashes, put in and looked up by the thousand.

Open addressing with linear probing. The hashes are uniform (``model.ids``), so their leading bits
are the place to look at first; all of a call's hashes take each step together.
"""

import numpy as np
from numpy.typing import NDArray

from model.ids import ITEM_HASH_BYTES

EMPTY = np.uint64(2**64 - 1)
"""No hash: those have 48 bits, and few marks above them."""
FIRST_BITS = 10
FULLEST = 0.25
"""Share of the places in use: of a quarter one hash in eight takes a second step."""


class HashTable:
    """From 48-bit hashes to numbers of at least 0; a hash may be given another one later.

    Bits above those tell one kind of hash from another (``serving.covisits.QUERY_MARK``).
    """

    def __init__(self) -> None:
        self._held = 0
        self._make(FIRST_BITS)

    def __len__(self) -> int:
        """How many hashes have been put in."""
        return self._held

    def put(self, hashes: NDArray[np.uint64], numbers: NDArray[np.int64]) -> None:
        """Give each of N distinct hashes its number, -1 for none."""
        bits = self._bits
        while self._held + len(hashes) > FULLEST * 2**bits:
            bits += 1
        if bits > self._bits:
            held = self._hashes != EMPTY
            old = self._hashes[held], self._numbers[held]
            self._make(bits)
            self._put(*old)
        self._put(hashes, numbers)

    def find(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The number of each of N hashes, int64 [N]; -1 where it has none."""
        places = (hashes >> self._shift).astype(np.int64) & self._mask
        there = self._hashes[places]
        is_it = there == hashes
        numbers = np.where(is_it, self._numbers[places], -1)
        left = np.flatnonzero(~is_it & (there != EMPTY))
        places, wanted = places[left], hashes[left]
        while len(left):
            places = (places + 1) & self._mask
            there = self._hashes[places]
            is_it = there == wanted
            numbers[left[is_it]] = self._numbers[places[is_it]]
            goes_on = ~is_it & (there != EMPTY)
            left, places, wanted = left[goes_on], places[goes_on], wanted[goes_on]
        return numbers

    def _make(self, bits: int) -> None:
        self._bits = bits
        self._held = 0
        self._mask = (1 << bits) - 1
        self._shift = np.uint64(8 * ITEM_HASH_BYTES - bits)
        self._hashes = np.full(1 << bits, EMPTY)
        self._numbers = np.full(1 << bits, -1, np.int64)

    def _put(self, hashes: NDArray[np.uint64], numbers: NDArray[np.int64]) -> None:
        places = (hashes >> self._shift).astype(np.int64) & self._mask
        while len(hashes):
            free = self._hashes[places] == EMPTY
            # Of several that come to one free place, one stays; the others go on.
            self._hashes[places[free]] = hashes[free]
            is_here = self._hashes[places] == hashes
            self._held += int((free & is_here).sum())
            self._numbers[places[is_here]] = numbers[is_here]
            goes_on = ~is_here
            places = (places[goes_on] + 1) & self._mask
            hashes, numbers = hashes[goes_on], numbers[goes_on]
