"""How sums of the shared counts are packed, and rows read again: see ``count_rows.lua``."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ROW = np.dtype([("high", ">u2"), ("low", ">u4"), ("weight", ">f8")])
"""An item hash of 48 bits and its weight."""
MEMBER = np.dtype([("member", ">u8"), ("weight", ">f8")])
"""A member of a sorted set and its weight."""
MOST_STRINGS = 1 << 16
_HASH_BITS = np.uint64(48)
_HASH_MASK = np.uint64((1 << 48) - 1)


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
    """What at most ``MOST_STRINGS`` strings of rows hold, each item once; of equal weights the
    higher item first."""
    rows = np.frombuffer(b"".join(strings), ROW)
    sizes = np.array([len(each) for each in strings], np.int64) // ROW.itemsize
    # One number of string and item is sorted in a third of the time of two.
    keys = np.repeat(np.arange(len(sizes), dtype=np.uint64) << _HASH_BITS, sizes)
    keys |= rows["high"].astype(np.uint64) << np.uint64(32)
    keys |= rows["low"]
    order = np.argsort(keys)
    keys = keys[order]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    weights = rows["weight"].astype(np.float64)[order]
    weights = np.add.reduceat(weights, starts) if len(starts) else weights
    keys = keys[starts]
    number = (keys >> _HASH_BITS).astype(np.uint16)
    # Turned round at the end, so that the greatest come first and the strings in their order.
    ascending = np.argsort(weights, kind="stable")
    order = ascending[np.argsort(~number[ascending], kind="stable")][::-1]
    ends = np.append(0, np.cumsum(np.bincount(number, minlength=len(sizes))))
    return SortedItems(ends, keys[order] & _HASH_MASK, weights[order])
