"""Shared counts in Redis: what is popular, and what is viewed or bought together.

Counts decay with event time by forward decay (Cormode et al., "Forward Decay", 2009): an event
adds 2 ** ((time - LANDMARK) / half life), so additions commute and nothing is ever rescaled; a
reader divides by the weight of its own present. A co-visit is an unordered pair of one user's
events within 30 minutes.

They live in shards by item, each shard in one hash slot beside the offsets it has applied of
every source partition: a redelivered batch is applied to each shard once, whatever crashed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.covisits import Admission, pairs_of
from serving.store import Store

LANDMARK_MS = 1_500_000_000_000
MAX_NEIGHBOURS = 50
"""Kept per item, and what lists read. Pruning starts at twice as many, well below the 128 past
which Redis no longer packs a sorted set: 3 KB an item instead of 17."""
MAX_POPULAR = 20_000
"""Kept per shard; far below any list's reach."""

_PLACE = [("source", ">u2"), ("high", ">u2"), ("low", ">u4")]
_WEIGHT = [("item", ">u8"), ("weight", ">f8")]
_POPULAR_ADDITION = np.dtype([*_PLACE, *_WEIGHT])
_PAIR = np.dtype([("one", "u8"), *_PLACE, *_WEIGHT])
_PAIR_ADDITION = np.dtype([*_PLACE, ("key", ">u2"), *_WEIGHT])
_PACKED = np.dtype(_WEIGHT)


@dataclass(frozen=True)
class Neighbours:
    """Items seen together with one item, strongest first, and their forward-decayed weights."""

    items: NDArray[np.uint64]
    weights: NDArray[np.float64]


class Counts:
    """Popularity and co-visits.

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
        self._head = f"{store.prefix}:count:h{half_life_days:g}of{shards}"

    def weight(self, time_ms: int) -> float:
        """What an event at that time adds; dividing by it turns a count into events of then."""
        return float(self._weights(np.array([time_ms]))[0])

    def _weights(self, times: NDArray[np.int64]) -> NDArray[np.float64]:
        # A double spans 2**±1022: with 14 days of half life, 39 years around the landmark.
        return np.exp2(np.clip((times - LANDMARK_MS) / self.half_life_ms, -1000, 1000))

    async def add(self, admissions: Sequence[Admission]) -> None:
        """Count what merges admitted; a batch that was applied before changes nothing."""
        if not any(each.records for each in admissions):
            return
        sources = list(dict.fromkeys(source for each in admissions for source in each.sources))
        code = {source: at for at, source in enumerate(sources)}
        parts = [self._additions(each, code) for each in admissions if each.records]
        popular = np.concatenate([popular for popular, _ in parts])
        pairs = np.concatenate([pairs for _, pairs in parts])
        of_popular = popular["item"] % np.uint64(self._shards)
        of_pair = pairs["one"] % np.uint64(self._shards)
        touched = np.union1d(of_popular, of_pair).astype(np.int64).tolist()
        await self._store.run(
            [
                self._call(shard, popular[of_popular == shard], pairs[of_pair == shard], sources)
                for shard in touched
            ]
        )

    def _additions(
        self, admission: Admission, code: dict[str, int]
    ) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """What one admission adds: to popularity, and to the neighbours of both items of a pair."""
        new = admission.newcomers()
        source = np.array([code[each] for each in admission.sources])
        offset = np.array(admission.offsets)
        popular = np.empty(len(offset), dtype=_POPULAR_ADDITION)
        _place(popular, source, offset)
        popular["item"] = new.items
        popular["weight"] = self._weights(new.times)
        found = pairs_of(admission)
        half = np.empty(len(found.record), dtype=_PAIR)
        _place(half, source[found.record], offset[found.record])
        half["one"], half["item"] = found.one, found.other
        half["weight"] = self._weights(found.times)
        turned = half.copy()
        turned["one"], turned["item"] = found.other, found.one
        return popular, np.concatenate([half, turned])

    def _call(
        self,
        shard: int,
        popular: NDArray[np.void],
        pairs: NDArray[np.void],
        sources: Sequence[str],
    ) -> tuple[Any, ...]:
        items, key = np.unique(pairs["one"], return_inverse=True)
        packed = np.empty(len(pairs), dtype=_PAIR_ADDITION)
        packed["key"] = key
        for name in ("source", "high", "low", "item", "weight"):
            packed[name] = pairs[name]
        keys = [*self._shard_keys(shard), *(self._pair_key(item) for item in items.tolist())]
        # Joining arrays has lost the byte order of the wire.
        counted = popular.astype(_POPULAR_ADDITION)
        return (
            "count", len(keys), *keys, MAX_NEIGHBOURS, MAX_POPULAR, counted.tobytes(),
            packed.tobytes(), *sources,
        )  # fmt: skip

    async def neighbours(
        self, items: Sequence[int], most: int = MAX_NEIGHBOURS
    ) -> list[Neighbours]:
        """The strongest neighbours of each item hash, in one trip."""
        return await self._strongest([self._pair_key(item) for item in items], most)

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
        packed = await self._store.run([("strongest", 1, key, most) for key in keys])
        rows = [np.frombuffer(each, dtype=_PACKED) for each in packed]
        return [
            Neighbours(each["item"].astype(np.uint64), each["weight"].astype(np.float64))
            for each in rows
        ]

    def _shard_keys(self, shard: int) -> tuple[str, str]:
        tag = f"{self._head}:{{{shard}}}"
        return f"{tag}:offsets", f"{tag}:popular"

    def _pair_key(self, item: int) -> str:
        return f"{self._head}:{{{item % self._shards}}}:with:{item:016x}"


def _place(
    additions: NDArray[np.void], source: NDArray[np.int64], offset: NDArray[np.int64]
) -> None:
    """Write where each addition comes from."""
    additions["source"] = source
    additions["high"], additions["low"] = offset >> 32, offset & 0xFFFFFFFF
