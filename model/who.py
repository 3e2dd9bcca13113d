"""What is known of users, attributes, country and device, as rows that the network reads."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.features import PADDING
from model.traits import MOST_TRAITS, TIME_BYTES, TRAIT_BYTES

WHO_ROWS = 8_192
"""Attributes, countries and devices are hashed into so many rows, the first of which is padding."""

_MIX = np.uint64(0x9E3779B97F4A7C15)
_VALUE = np.uint64((1 << 48) - 1)


def who_rows(traits: Sequence[bytes]) -> NDArray[np.int64]:
    """The rows of what is known of B users, sorted: a sum must not depend on who came first.

    Args:
        traits: sections of ``model.traits``.

    Returns:
        int64 [B, MOST_TRAITS], from 1 on, padded with 0 on the left. What was taken back is 0.
    """
    sizes = np.array([len(each) for each in traits], np.int64) // TRAIT_BYTES
    records = np.frombuffer(b"".join(traits), np.uint8).reshape(-1, TRAIT_BYTES)
    told = np.ascontiguousarray(records[:, TIME_BYTES:]).view(">u8").ravel().astype(np.uint64)
    # A name in the upper two bytes, a value in the others: mixed, for a value may be of two names.
    rows = 1 + ((told * _MIX) >> np.uint64(32)).astype(np.int64) % (WHO_ROWS - 1)
    rows[told & _VALUE == 0] = PADDING
    cells = np.zeros((len(traits), MOST_TRAITS), np.int64)
    cells[np.arange(MOST_TRAITS) < sizes[:, None]] = rows
    return np.sort(cells, axis=1)
