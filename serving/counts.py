"""Shared counts in Redis: what is popular, and what is viewed or bought together.

Counts decay with event time by forward decay (Cormode et al., "Forward Decay", 2009): an event
adds 2 ** ((time - LANDMARK) / half life), so additions commute and nothing is ever rescaled; a
reader divides by the weight of its own present. A co-visit is an unordered pair of one user's
events within 30 minutes.

They live in shards by item, each shard in one hash slot beside the offsets it has applied of
every source partition: a redelivered batch is applied to each shard once, whatever crashed.
"""

import struct
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.profile import INTERACTIONS
from serving.store import Store

LANDMARK_MS = 1_500_000_000_000
TOGETHER_MS = 30 * 60 * 1000
MAX_NEIGHBOURS = 100
"""Kept per item; lists read 50 of them, and pruning starts at twice as many."""
MAX_POPULAR = 20_000
"""Kept per shard; far below any list's reach."""

_POPULAR_ADDITION = struct.Struct(">HI8sd")
_PAIR_ADDITION = struct.Struct(">HIH8sd")
_NO_ITEMS = np.empty(0, np.uint64)
_NO_WEIGHTS = np.empty(0, np.float64)


@dataclass(frozen=True)
class NewInteraction:
    """An interaction that a merge has just admitted, with the record it came in."""

    source: str
    """Topic and partition."""
    offset: int
    record: bytes
    """The packed interaction."""
    others: bytes
    """The user's interactions after the merge, packed, newest first."""
    later: frozenset[bytes] = frozenset()
    """Those of ``others`` admitted by later records of the same batch: each counts the pair."""


@dataclass(frozen=True)
class Neighbours:
    """Items seen together with one item, strongest first, and their forward-decayed weights."""

    items: NDArray[np.uint64]
    weights: NDArray[np.float64]


@dataclass
class _ShardAdditions:
    popular: list[bytes]
    pairs: list[tuple[bytes, bytes, int, float]]


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
        # A double spans 2**±1022: with 14 days of half life, 39 years around the landmark.
        exponent = (time_ms - LANDMARK_MS) / self.half_life_ms
        return float(2.0 ** max(-1000.0, min(1000.0, exponent)))

    async def add(self, admitted: Sequence[NewInteraction]) -> None:
        """Count new interactions; a batch that was applied before changes nothing."""
        by_shard: dict[tuple[str, int], _ShardAdditions] = defaultdict(
            lambda: _ShardAdditions([], [])
        )
        for each in admitted:
            item = each.record[12:20]
            time = int.from_bytes(each.record[:6], "big")
            high, low = divmod(each.offset, 1 << 32)
            by_shard[each.source, self._shard(item)].popular.append(
                _POPULAR_ADDITION.pack(high, low, item, self.weight(time))
            )
            for one, other, weight in self._pairs(each, item, time):
                by_shard[each.source, self._shard(one)].pairs.append(
                    (one, other, each.offset, weight)
                )
        await self._store.run(
            [
                self._call(source, shard, additions)
                for (source, shard), additions in by_shard.items()
            ]
        )

    def _pairs(
        self, new: NewInteraction, item: bytes, time: int
    ) -> Iterable[tuple[bytes, bytes, float]]:
        width = INTERACTIONS.width
        for at in range(0, len(new.others), width):
            other = new.others[at : at + width]
            apart = int.from_bytes(other[:6], "big") - time
            if apart > TOGETHER_MS:
                continue
            if apart < -TOGETHER_MS:
                break
            if other[12:20] != item and other not in new.later:
                weight = self.weight(time + max(apart, 0))
                yield item, other[12:20], weight
                yield other[12:20], item, weight

    def _call(self, source: str, shard: int, additions: _ShardAdditions) -> tuple[Any, ...]:
        places = {item: at for at, item in enumerate(dict.fromkeys(a for a, *_ in additions.pairs))}
        packed = b"".join(
            _PAIR_ADDITION.pack(*divmod(offset, 1 << 32), places[one], other, weight)
            for one, other, offset, weight in additions.pairs
        )
        keys = [*self._shard_keys(shard), *(self._pair_key(shard, item) for item in places)]
        return (
            "count", len(keys), *keys, source, MAX_NEIGHBOURS, MAX_POPULAR,
            b"".join(additions.popular), packed,
        )  # fmt: skip

    async def neighbours(self, items: Sequence[int], most: int = 50) -> list[Neighbours]:
        """The strongest neighbours of each item hash, in one trip."""
        if not items:
            return []
        pipe = self._store.redis.pipeline(transaction=False)
        for item in items:
            name = item.to_bytes(8, "big")
            pipe.zrevrange(self._pair_key(self._shard(name), name), 0, most - 1, withscores=True)
        return [_neighbours(rows) for rows in await pipe.execute()]

    async def popular(self) -> Neighbours:
        """All items that have a count, strongest first."""
        pipe = self._store.redis.pipeline(transaction=False)
        for shard in range(self._shards):
            pipe.zrevrange(self._shard_keys(shard)[1], 0, MAX_POPULAR - 1, withscores=True)
        parts = [_neighbours(rows) for rows in await pipe.execute()]
        items = np.concatenate([part.items for part in parts])
        weights = np.concatenate([part.weights for part in parts])
        order = np.argsort(-weights, kind="stable")
        return Neighbours(items[order], weights[order])

    def _shard(self, item: bytes) -> int:
        return int.from_bytes(item[-4:], "big") % self._shards

    def _shard_keys(self, shard: int) -> tuple[str, str]:
        tag = f"{self._head}:{{{shard}}}"
        return f"{tag}:offsets", f"{tag}:popular"

    def _pair_key(self, shard: int, item: bytes) -> str:
        return f"{self._head}:{{{shard}}}:with:{item.hex()}"


def _neighbours(rows: list[tuple[bytes, float]]) -> Neighbours:
    if not rows:
        return Neighbours(_NO_ITEMS, _NO_WEIGHTS)
    members = b"".join(row[0] for row in rows)
    return Neighbours(
        np.frombuffer(members, dtype=">u8").astype(np.uint64),
        np.array([row[1] for row in rows], dtype=np.float64),
    )
