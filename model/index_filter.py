"""What a search of a ``model.item_index`` may find, kept until something of it changes."""

import numpy as np
from numpy.typing import NDArray

from model.features import FIRST_ITEM

BARRED = np.float32(-5e8)
"""A bias below that bars an item: barred ones have -1e9."""


class IndexFilter:
    """Bits of rows, as faiss reads them.

    Args:
        listed: bool [V], rows that the lists of the bundle hold; it is written to.
    """

    def __init__(self, listed: NDArray[np.bool_]) -> None:
        self.listed = listed
        """bool [V]: rows that the lists of the bundle hold, and that nobody has changed."""
        self._read: tuple[NDArray[np.float32], int] | None = None
        self.allowed = np.zeros(0, np.bool_)
        """bool [rows]: which may be recommended, by their bias."""
        self.count = 0
        """How many may."""
        self.bits = np.zeros(0, np.uint8)
        """Of ``allowed``."""
        self.listed_bits = np.zeros(0, np.uint8)
        """The same, without the rows that the lists of the bundle do not hold any more."""

    def take_out(self, rows: NDArray[np.int64]) -> None:
        """The lists of the bundle hold these no more, or an older vector of them: int64 [N]."""
        rows = rows[rows < len(self.listed)]
        self.listed[rows] = False
        known = rows[rows < 8 * len(self.listed_bits)]
        kept = np.bitwise_not(np.left_shift(1, known & 7)).astype(np.uint8)
        np.bitwise_and.at(self.listed_bits, known >> 3, kept)

    def update(self, item_bias: NDArray[np.float32], edition: int | None) -> bool:
        """Read the biases, float32 [rows], unless these were read in this edition; whether they
        were read now.

        Raises:
            ValueError: they are of another catalogue.
        """
        listed = len(self.listed)
        if len(item_bias) < listed:
            raise ValueError(f"{len(item_bias)} biases for {listed} items")
        known, known_edition = self._read or (None, None)
        if edition is not None and edition == known_edition and item_bias is known:
            return False
        self.allowed = item_bias > BARRED
        self.allowed[:FIRST_ITEM] = False
        self.bits = np.packbits(self.allowed, bitorder="little")
        self.count = int(np.count_nonzero(self.allowed))
        self.listed_bits = np.packbits(self.allowed[:listed] & self.listed, bitorder="little")
        self._read = None if edition is None else (item_bias, edition)
        return True
