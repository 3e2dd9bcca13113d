"""How sums of the shared counts are packed, and rows read again: see ``count_rows.lua``."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ROW = np.dtype([("high", ">u2"), ("low", ">u4"), ("weight", ">f8")])
"""An item hash of 48 bits and its weight."""
MEMBER = np.dtype([("member", ">u8"), ("weight", ">f8")])
"""A member of a sorted set and its weight."""


class SortedItems(NamedTuple):
    """The items of N strings, one string after the other, the strongest of each first."""

    ends: NDArray[np.int64]
    """int64 [N + 1]: where each string's items begin, and the last one's end."""
    items: NDArray[np.uint64]
    """Hashes."""
    weights: NDArray[np.float64]


def pack_rows(items: NDArray[np.uint64], weights: NDArray[np.float64]) -> NDArray[np.void]:
    """``ROW`` of each item."""
    rows = np.empty(len(items), ROW)
    rows["high"], rows["low"] = items >> np.uint64(32), items & np.uint64(0xFFFFFFFF)
    rows["weight"] = weights
    return rows


def pack_members(members: NDArray[np.uint64], weights: NDArray[np.float64]) -> NDArray[np.void]:
    """``MEMBER`` of each member."""
    packed = np.empty(len(members), MEMBER)
    packed["member"], packed["weight"] = members, weights
    return packed


def added_up(strings: Sequence[bytes]) -> SortedItems:
    """What strings of rows hold, each item once; of equal weights the higher item first."""
    rows = np.frombuffer(b"".join(strings), ROW)
    sizes = np.array([len(each) for each in strings], np.int64) // ROW.itemsize
    items = rows["high"].astype(np.uint64) << np.uint64(32) | rows["low"]
    owners = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((items, owners))
    items, owners = items[order], owners[order]
    is_first = (items[1:] != items[:-1]) | (owners[1:] != owners[:-1])
    starts = np.flatnonzero(np.append(True, is_first)[: len(rows)])
    if not len(starts):
        return SortedItems(np.zeros(len(sizes) + 1, np.int64), items, np.empty(0))
    weights = np.add.reduceat(rows["weight"].astype(np.float64)[order], starts)
    items, owners = items[starts], owners[starts]
    # Turned round at the end, so that the greatest come first and the strings in their order.
    order = np.lexsort((weights, -owners))[::-1]
    ends = np.append(0, np.cumsum(np.bincount(owners, minlength=len(sizes))))
    return SortedItems(ends, items[order], weights[order])
