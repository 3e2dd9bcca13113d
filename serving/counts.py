"""Shared counts in Redis: what is popular, what goes together, what is chosen after a search.

Counts decay with event time by forward decay (Cormode et al., "Forward Decay", 2009): an event
adds 2 ** ((time - LANDMARK) / half life), so additions commute and nothing is ever rescaled; a
reader divides by the weight of its own present. Popularity within a category is read off the same
numbers: a category is what the catalogue says now, not what it said when the event came.

They live in shards by item, each shard in one hash slot beside the offsets it has applied of
every source partition: a redelivered batch is applied to each shard once, whatever crashed.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.signals import NEIGHBOURS
from serving.covisits import QUERY_MARK, Admission, new_events, pairs_of, query_hash
from serving.profile import cut_query
from serving.store import Store

LANDMARK_MS = 1_500_000_000_000
MAX_NEIGHBOURS = NEIGHBOURS
"""What lists read of an item. At most twice as many are kept, for past 128 Redis no longer packs
a sorted set: 3 KB an item instead of 17."""
MAX_POPULAR = 20_000
"""Kept per shard; far below any list's reach."""

KEYS_AT_ONCE = 32
"""Read by one call: a millisecond in which the server does nothing else."""

_PLACE = [("source", ">u2"), ("high", ">u2"), ("low", ">u4")]
_WEIGHT = [("item", ">u8"), ("weight", ">f8")]
_POPULAR_ADDITION = np.dtype([*_PLACE, *_WEIGHT])
_PAIR = np.dtype([("one", "u8"), *_PLACE, *_WEIGHT])
_PAIR_ADDITION = np.dtype([*_PLACE, ("key", ">u2"), *_WEIGHT])
_PACKED = np.dtype(_WEIGHT)


@dataclass(frozen=True)
class Neighbours:
    """Items that go with an item or a query, strongest first, and their forward-decayed weights."""

    items: NDArray[np.uint64]
    weights: NDArray[np.float64]


class Counts:
    """Popularity, co-visits and choices after a search.

    Args:
        store: where they live.
        shards: hash slots they are spread over; fixed for the life of the counts.
        half_life_days: after which an event counts half; part of the keys, so that counts of
            two half lives never mix.
    """

    def __init__(self, store: Store, *, shards: int, half_life_days: float) -> None:
        self._store = store
        self._shards = shards
        self.half_life_ms = half_life_days * 86_400_000
        # By then what was chosen weighs a 64th.
        self._query_ttl_ms = round(6 * self.half_life_ms)
        age = f"g{store.generation}" if store.generation else ""
        self._head = f"{store.prefix}:count:{age}h{half_life_days:g}of{shards}"
        self._set_key = lru_cache(maxsize=1 << 17)(self._key_of_set)

    def weight(self, time_ms: int) -> float:
        """What an event at that time adds; dividing by it turns a count into events of then."""
        return float(self.weights(np.array([time_ms]))[0])

    def weights(self, times: NDArray[np.int64]) -> NDArray[np.float64]:
        """As ``weight``, of many times at once: float64 of the same shape."""
        # A double spans 2**±1022: with 14 days of half life, 39 years around the landmark.
        return np.exp2(np.clip((times - LANDMARK_MS) / self.half_life_ms, -1000, 1000))

    async def add(self, admissions: Sequence[Admission]) -> None:
        """Count what merges admitted; a batch that was applied before changes nothing."""
        admissions = [each for each in admissions if each.events]
        if not admissions:
            return
        sources = list(dict.fromkeys(source for each in admissions for source in each.source))
        code = {source: at for at, source in enumerate(sources)}
        source = np.array([code[name] for each in admissions for name in each.source])
        offset = np.array([at for each in admissions for at in each.offsets])
        new, asked = new_events(admissions)
        found = pairs_of(admissions, new, asked)
        popular = np.empty(len(new.number), dtype=_POPULAR_ADDITION)
        _place(popular, source[new.number], offset[new.number])
        popular["item"], popular["weight"] = new.hashes, self.weights(new.times)
        pairs = np.empty(len(found.event), dtype=_PAIR)
        _place(pairs, source[found.event], offset[found.event])
        pairs["one"], pairs["item"] = found.one, found.other
        pairs["weight"] = self.weights(found.times)
        popular_of, popular = self._by_shard(popular, popular["item"])
        pairs_of_shard, pairs = self._by_shard(pairs, pairs["one"])
        is_first = np.append(True, pairs["one"][1:] != pairs["one"][:-1])[: len(pairs)]
        keys = [self._set_key(one) for one in pairs["one"][is_first].tolist()]
        number = np.append(0, np.cumsum(is_first))
        packed = np.empty(len(pairs), dtype=_PAIR_ADDITION)
        for name in ("source", "high", "low", "item", "weight"):
            packed[name] = pairs[name]
        first_key = number[pairs_of_shard]
        packed["key"] = number[1:] - 1 - np.repeat(first_key[:-1], np.diff(pairs_of_shard))
        await self._store.run(
            [
                self._call(
                    shard,
                    keys[first_key[shard] : first_key[shard + 1]],
                    popular[popular_of[shard] : popular_of[shard + 1]].tobytes(),
                    packed[pairs_of_shard[shard] : pairs_of_shard[shard + 1]].tobytes(),
                    sources,
                )
                for shard in np.flatnonzero(np.diff(popular_of) + np.diff(pairs_of_shard)).tolist()
            ]
        )

    def _by_shard(
        self, additions: NDArray[np.void], placed_by: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.void]]:
        """Where the additions of each shard begin and the last ones end, and these in that order.

        Those of one item or query stay together, in the order in which they came.
        """
        shards = (placed_by % np.uint64(self._shards)).astype(np.int64)
        order = np.lexsort((placed_by, shards))
        starts = np.searchsorted(shards[order], np.arange(self._shards + 1))
        return starts, additions[order]

    def _call(
        self, shard: int, set_keys: Sequence[str], popular: bytes, pairs: bytes,
        sources: Sequence[str],
    ) -> tuple[Any, ...]:  # fmt: skip
        keys = [*self._shard_keys(shard), *set_keys]
        return (
            "count", len(keys), *keys, MAX_NEIGHBOURS, MAX_POPULAR, self._query_ttl_ms,
            popular, pairs, *sources,
        )  # fmt: skip

    async def neighbours(
        self, items: Sequence[int], most: int = MAX_NEIGHBOURS
    ) -> list[Neighbours]:
        """The strongest neighbours of each item hash, in one trip."""
        return await self._strongest([self._set_key(item) for item in items], most)

    async def chosen_after(
        self, queries: Sequence[str], most: int = MAX_NEIGHBOURS
    ) -> list[Neighbours]:
        """What was chosen most within 30 minutes after each search, in one trip."""
        hashes = [query_hash(cut_query(query)) for query in queries]
        return await self._strongest([self._set_key(each) for each in hashes], most)

    async def popular(self) -> Neighbours:
        """All items that have a count, strongest first."""
        parts = await self._strongest(
            [self._shard_keys(shard)[1] for shard in range(self._shards)], MAX_POPULAR
        )
        items = np.concatenate([part.items for part in parts])
        weights = np.concatenate([part.weights for part in parts])
        order = np.argsort(-weights, kind="stable")
        return Neighbours(items[order], weights[order])

    async def _strongest(self, keys: Sequence[str], most: int) -> list[Neighbours]:
        """Of each key; those of one shard are read together."""
        of_shard: defaultdict[str, list[int]] = defaultdict(list)
        for at, key in enumerate(keys):
            of_shard[key[: key.index("}")]].append(at)
        together = [
            places[first : first + KEYS_AT_ONCE]
            for places in of_shard.values()
            for first in range(0, len(places), KEYS_AT_ONCE)
        ]
        replies = await self._store.run(
            [("strongest", len(some), *(keys[at] for at in some), most) for some in together]
        )
        packed = [b""] * len(keys)
        for some, reply in zip(together, replies, strict=True):
            for at, each in zip(some, reply, strict=True):
                packed[at] = each
        rows = np.frombuffer(b"".join(packed), dtype=_PACKED)
        items, weights = rows["item"].astype(np.uint64), rows["weight"].astype(np.float64)
        found: list[Neighbours] = []
        end = 0
        for each in packed:
            start, end = end, end + len(each) // _PACKED.itemsize
            # Copies: whoever keeps one of them would else keep them all in memory.
            found.append(Neighbours(items[start:end].copy(), weights[start:end].copy()))
        return found

    def _shard_keys(self, shard: int) -> tuple[str, str]:
        tag = f"{self._head}:{{{shard}}}"
        return f"{tag}:offsets", f"{tag}:popular"

    def _key_of_set(self, one: int) -> str:
        tag = f"{self._head}:{{{one % self._shards}}}"
        if one & QUERY_MARK:
            return f"{tag}:after:{one ^ QUERY_MARK:012x}"
        return f"{tag}:with:{one:012x}"


def _place(
    additions: NDArray[np.void], source: NDArray[np.int64], offset: NDArray[np.int64]
) -> None:
    """Write where each addition comes from."""
    additions["source"] = source
    additions["high"], additions["low"] = offset >> 32, offset & 0xFFFFFFFF
