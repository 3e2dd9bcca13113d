"""How the sets of the shared counts are numbered and called, and in which shard each lies.

A number of 64 bits stands for a set: the 48-bit hash of an item for what goes with it; that of a
query, marked, for what is chosen after it. What is popular in a country has a set in each shard, as
have the responses to lists (``serving.exposure``): there the shard stands above the 48 bits.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from serving import exposure
from serving.covisits import PLACE_MARK, QUERY_MARK

_HASH_BITS = 48
_HASH_MASK = (1 << _HASH_BITS) - 1
MOST_SHARDS = 1 << 10
_ROWS = "rows"
"""In the names of all that is counted since pairs are kept in rows and not in sorted sets."""
_SPREAD = 0x9E3779B97F4B
"""Odd: so that the sets of one country, a shard apart, do not lie side by side in a hash table."""


class CountSets:
    """Sets of counts in shards.

    What came of lists is the same for all generations: no log of events brings it back.

    Args:
        head: first part of every key.
        kind: of the counts; those of two kinds never mix.
        generation: of the counts, 0 for the first.
        shards: how many there are, at most ``MOST_SHARDS``.
    """

    def __init__(self, head: str, kind: str, generation: int, shards: int) -> None:
        self._of_lists = f"{head}{kind}"
        before_rows = f"{head}{f'g{generation}' if generation else ''}{kind}"
        self.before_rows = f"{before_rows}:{{0}}:offsets"
        """A key that there is where an earlier version has counted."""
        self.head = f"{before_rows}{_ROWS}"
        """First part of every key but those of what came of lists."""
        self.shards = shards
        self.key = lru_cache(maxsize=1 << 17)(self._key)
        """The key of a set."""

    def of_country(self, country: int) -> NDArray[np.uint64]:
        """The sets, one in each shard, of what is popular in a country, given by its hash."""
        return self.of_countries(np.full(self.shards, country, np.int64), np.arange(self.shards))

    @staticmethod
    def of_countries(countries: NDArray[np.int64], shards: NDArray[np.int64]) -> NDArray[np.uint64]:
        """The set of each country, by hashes, in a shard each."""
        spread = (countries + shards * _SPREAD) & _HASH_MASK
        return (spread | (shards << _HASH_BITS) | PLACE_MARK).astype(np.uint64)

    def shards_of(self, sets: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The shard of each set; of an item hash, that in which the item itself is counted."""
        shards = (sets % np.uint64(self.shards)).astype(np.int64)
        says_shard = (sets & np.uint64(PLACE_MARK)) > 0
        shards[says_shard] = (sets[says_shard] >> np.uint64(_HASH_BITS)) & np.uint64(
            MOST_SHARDS - 1
        )
        return shards

    def shard_keys(self, shard: int) -> tuple[str, str, str]:
        """The keys of the offsets that a shard has applied, of popularity in it, and of the offsets
        up to which it has what came of lists."""
        tag = f"{self.head}:{{{shard}}}"
        return f"{tag}:offsets", f"{tag}:popular", f"{self._of_lists}:{{{shard}}}:feedback"

    def _key(self, one: int) -> str:
        if one & PLACE_MARK:
            shard = (one >> _HASH_BITS) & (MOST_SHARDS - 1)
            if one & QUERY_MARK:
                return f"{self._of_lists}:{{{shard}}}:{exposure.set_name(one & _HASH_MASK)}"
            tag = f"{self.head}:{{{shard}}}"
            return f"{tag}:in:{(one - shard * _SPREAD) & _HASH_MASK:012x}"
        tag = f"{self.head}:{{{one % self.shards}}}"
        if one & QUERY_MARK:
            return f"{tag}:after:{one ^ QUERY_MARK:012x}"
        return f"{tag}:with:{one:012x}"
