"""Sums on their way into the shared counts: by shard, in parts that hold the server up briefly.

Which part a set goes in depends on the set alone, so that a build that broke off adds the rest and
nothing twice, though other sums may have changed meanwhile.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from serving.count_sets import CountSets
from serving.past_pairs import PastCounts, Sums

ADDED_AT_ONCE = 2_000
"""Sums of a shard in one call, on average: some milliseconds."""
MOST_OF_A_SET = 512
"""Sums of a set that are sent; no set of pairs keeps a quarter of that."""
MOST_PARTS = 1 << 20
_SUM = np.dtype([("member", ">u8"), ("weight", ">f8")])


def parts_for(counted: PastCounts, shards: int) -> int:
    """In how many parts these sums should go."""
    sums = len(counted.popular.sets) + len(counted.pairs.sets)
    return min(-(-sums // (shards * ADDED_AT_ONCE)) or 1, MOST_PARTS)


class SumCalls:
    """The keys and arguments of the server's ``add``, part by part.

    Args:
        sets: what sets are called, and where they are.
        counted: what is added.
        parts: in how many parts; the same whenever it is done again.
    """

    def __init__(self, sets: CountSets, counted: PastCounts, parts: int) -> None:
        self._sets = sets
        self._parts = parts
        self._pairs = self._in_order(counted.pairs, MOST_OF_A_SET)
        self._popular = self._in_order(counted.popular, 1)

    def of(self, part: int) -> Iterator[tuple[list[str], bytes, bytes, bytes]]:
        """Of each shard that has any: its keys, sums of popularity, sizes and sums of sets."""
        for shard in range(self._sets.shards):
            place = part * self._sets.shards + shard
            popular, pairs = self._popular[2], self._pairs
            keys = [*self._sets.shard_keys(shard)[:2]]
            begin, end = np.searchsorted(self._popular[1], [place, place + 1]).tolist()
            first, last = np.searchsorted(pairs[1], [place, place + 1]).tolist()
            if begin == end and first == last:
                continue
            sets = pairs[0][first:last]
            starts = np.flatnonzero(np.append(True, sets[1:] != sets[:-1])[: len(sets)])
            keys += map(self._sets.key, sets[starts].tolist())
            sizes = np.diff(np.append(starts, last - first)).astype(">u2")
            yield (
                keys,
                popular[begin:end].tobytes(),
                sizes.tobytes(),
                pairs[2][first:last].tobytes(),
            )

    def _in_order(
        self, sums: Sums, most: int
    ) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.void]]:
        """Sets, places (part and shard) and packed sums, by place and set, strongest first."""
        distinct, which = np.unique(sums.sets, return_inverse=True)
        shards = self._sets.shards
        part = (distinct // np.uint64(shards) % np.uint64(self._parts)).astype(np.int64)
        place = part * shards + self._sets.shards_of(distinct)
        rank = np.empty(len(distinct), np.int64)
        rank[np.argsort(place, kind="stable")] = np.arange(len(distinct))
        order = np.lexsort((sums.members, -sums.weights, rank[which]))
        ranks = rank[which][order]
        starts = np.searchsorted(ranks, ranks)
        order = order[np.arange(len(order)) - starts < most]
        packed = np.empty(len(order), _SUM)
        packed["member"], packed["weight"] = sums.members[order], sums.weights[order]
        return sums.sets[order], place[which[order]], packed


def part_number(epoch: int, part: int) -> int:
    """Of all parts of all epochs, ascending."""
    return epoch * MOST_PARTS + part
