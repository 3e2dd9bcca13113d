"""Sums on their way into the shared counts: by shard, in parts that hold the server up briefly.

Which part a set goes in depends on the set alone, so that a build that broke off adds the rest and
nothing twice, though other sums may have changed meanwhile.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving import exposure
from serving.count_rows import pack_members, pack_rows
from serving.count_sets import CountSets
from serving.past_pairs import NOTHING, PastCounts, Sums

ADDED_AT_ONCE = 2_000
"""Sums of a shard in one call, on average: a few milliseconds."""
MOST_OF_A_SET = 512
"""Sums of a set that are sent, the strongest; no set of pairs keeps more than a quarter of that."""
MOST_PARTS = 1 << 20


def parts_for(counted: PastCounts, shards: int) -> int:
    """In how many parts these sums should go."""
    sums = len(counted.popular.sets) + len(counted.pairs.sets)
    return min(-(-sums // (shards * ADDED_AT_ONCE)) or 1, MOST_PARTS)


class PackedSums(NamedTuple):
    """What ``add_sums`` of counts.lua takes of a shard."""

    keys: list[str]
    popular: bytes
    sizes: bytes
    rows: bytes
    sizes_of_lists: bytes
    of_lists: bytes


class SumCalls:
    """The keys and arguments with which the server adds sums, part by part.

    Args:
        sets: what sets are called, and where they are.
        popular: sums of popularity, each item once.
        pairs: all other sums, each set and member once.
        parts: in how many parts; the same whenever it is done again.
    """

    def __init__(self, sets: CountSets, popular: Sums, pairs: Sums, parts: int = 1) -> None:
        is_of_lists = pairs.sets >= exposure.FIRST_SET
        of_lists = NOTHING
        if is_of_lists.any():
            pairs, of_lists = _which(pairs, ~is_of_lists), _which(pairs, is_of_lists)
        self._sets = sets
        self._popular = _Placed(sets, popular, parts, pack_members)
        self._rows = _Placed(sets, _strongest(pairs), parts, pack_rows)
        self._of_lists = _Placed(sets, of_lists, parts, pack_members)

    def of(self, shard: int, part: int = 0) -> PackedSums:
        """What a shard gets in this part."""
        place = part * self._sets.shards + shard
        keys, *rows = self._rows.at(place)
        keys_of_lists, *of_lists = self._of_lists.at(place)
        return PackedSums(
            [*self._sets.shard_keys(shard), *keys, *keys_of_lists],
            self._popular.sums_at(place),
            *rows,
            *of_lists,
        )


class _Placed:
    """Sums by place, which is part and shard, and by set."""

    def __init__(
        self,
        sets: CountSets,
        sums: Sums,
        parts: int,
        pack: Callable[[NDArray[np.uint64], NDArray[np.float64]], NDArray[np.void]],
    ) -> None:
        shards = np.uint64(sets.shards)
        place = (sums.sets // shards % np.uint64(parts)).astype(np.int64) * sets.shards
        place += sets.shards_of(sums.sets)
        order = np.lexsort((sums.sets, place))
        place, placed = place[order], sums.sets[order]
        starts, sizes = _runs(placed)
        packed = pack(sums.members[order], sums.weights[order])
        places = np.arange(parts * sets.shards + 1)
        self._key = sets.key
        self._sets = placed[starts]
        self._sizes = sizes.astype(">u4").tobytes()
        self._sums = packed.tobytes()
        self._width = packed.itemsize
        self._first_set: list[int] = np.searchsorted(place[starts], places).tolist()
        self._first_sum: list[int] = np.searchsorted(place, places).tolist()

    def at(self, place: int) -> tuple[list[str], bytes, bytes]:
        """The keys of the sets, how many sums each gets, and these."""
        first, last = self._first_set[place], self._first_set[place + 1]
        if first == last:
            return [], b"", b""
        keys = list(map(self._key, self._sets[first:last].tolist()))
        return keys, self._sizes[4 * first : 4 * last], self.sums_at(place)

    def sums_at(self, place: int) -> bytes:
        """The sums of all sets."""
        first, last = self._first_sum[place], self._first_sum[place + 1]
        return self._sums[first * self._width : last * self._width]


def _which(sums: Sums, wanted: NDArray[np.bool_] | NDArray[np.int64]) -> Sums:
    return Sums(sums.sets[wanted], sums.members[wanted], sums.weights[wanted])


def _strongest(sums: Sums) -> Sums:
    """Without the weakest of sets that have more than ``MOST_OF_A_SET``."""
    order = np.argsort(sums.sets, kind="stable")
    _, sizes = _runs(sums.sets[order])
    if not (is_large := sizes > MOST_OF_A_SET).any():
        return sums
    of_large = order[np.repeat(is_large, sizes)]
    of_large = of_large[
        np.lexsort((sums.members[of_large], -sums.weights[of_large], sums.sets[of_large]))
    ]
    sizes = sizes[is_large]
    place = np.arange(len(of_large)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    wanted = np.ones(len(order), np.bool_)
    wanted[of_large[place >= MOST_OF_A_SET]] = False
    return _which(sums, wanted)


def _runs(ordered: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each value's run begins, and how long it is."""
    is_first = np.ones(len(ordered), np.bool_)
    is_first[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(is_first)
    return starts, np.diff(starts, append=len(ordered))


def part_number(epoch: int, part: int) -> int:
    """Of all parts of all epochs, ascending."""
    return epoch * MOST_PARTS + part
