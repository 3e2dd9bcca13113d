"""Shared counts in Redis: what is popular, what goes together, what is chosen after a search.

Counts decay with event time by forward decay (Cormode et al., "Forward Decay", 2009): an event
adds 2 ** ((time - LANDMARK) / half life), so additions commute and nothing is ever rescaled; a
reader divides by the weight of its own present. Popularity within a category is read off the same
numbers: a category is what the catalogue says now, not what it said when the event came.

They live in shards by item, each shard in one hash slot beside the offsets it has applied of
every source partition: a redelivered batch is applied to each shard once, whatever crashed.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.signals import NEIGHBOURS, strongest
from model.traits import place_hash
from serving import exposure
from serving.count_sets import CountSets
from serving.count_sums import SumCalls, part_number
from serving.covisits import (
    Admission,
    OwnedEvents,
    new_events,
    pairs_of,
    query_hash,
)
from serving.feedback import Response
from serving.past_pairs import PastCounts
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
        by_country: whether popularity is counted by country too.
    """

    def __init__(
        self, store: Store, *, shards: int, half_life_days: float, by_country: bool = False
    ) -> None:
        self._store = store
        self.by_country = by_country
        self._half_life_days = half_life_days
        self.half_life_ms = half_life_days * 86_400_000
        # By then what was chosen weighs a 64th.
        self._set_ttl_ms = round(6 * self.half_life_ms)
        self.sets = CountSets(
            f"{store.prefix}:count:", f"h{half_life_days:g}of{shards}", store.generation, shards
        )

    def within(self, store: Store) -> "Counts":
        """The same counts of the generation of another store."""
        return Counts(
            store,
            shards=self.sets.shards,
            half_life_days=self._half_life_days,
            by_country=self.by_country,
        )

    def weight(self, time_ms: int) -> float:
        """What an event at that time adds; dividing by it turns a count into events of then."""
        return float(self.weights(np.array([time_ms]))[0])

    def weights(self, times: NDArray[np.int64]) -> NDArray[np.float64]:
        """As ``weight``, of many times at once: float64 of the same shape."""
        # A double spans 2**±1022: with 14 days of half life, 39 years around the landmark.
        return np.exp2(np.clip((times - LANDMARK_MS) / self.half_life_ms, -1000, 1000))

    async def add(
        self, admissions: Sequence[Admission], responses: Sequence[Response] = ()
    ) -> None:
        """Count what merges admitted and what came of lists; a batch that was applied before
        changes nothing."""
        admissions = [each for each in admissions if each.events]
        if not admissions and not responses:
            return
        sources = list(
            dict.fromkeys(
                [source for each in admissions for source in each.source]
                + [each.event.source for each in responses]
            )
        )
        code = {source: at for at, source in enumerate(sources)}
        source = np.array([code[name] for each in admissions for name in each.source], np.int64)
        offset = np.array([at for each in admissions for at in each.offsets], np.int64)
        new, asked = new_events(admissions)
        found = pairs_of(admissions, new, asked)
        popular = np.empty(len(new.number), dtype=_POPULAR_ADDITION)
        _place(popular, source[new.number], offset[new.number])
        popular["item"], popular["weight"] = new.hashes, self.weights(new.times)
        pairs = np.empty(len(found.event), dtype=_PAIR)
        _place(pairs, source[found.event], offset[found.event])
        pairs["one"], pairs["item"] = found.one, found.other
        pairs["weight"] = self.weights(found.times)
        in_countries = self._in_countries(admissions, new, popular)
        pairs = np.concatenate([pairs, in_countries, self._of_lists(responses, code)])
        popular_of, popular = self._by_shard(popular, popular["item"])
        pairs_of_shard, pairs = self._by_shard(pairs, pairs["one"])
        is_first = np.append(True, pairs["one"][1:] != pairs["one"][:-1])[: len(pairs)]
        sets = pairs["one"][is_first]
        keys = [self.sets.key(one) for one in sets.tolist()]
        number = np.append(0, np.cumsum(is_first))
        packed = np.empty(len(pairs), dtype=_PAIR_ADDITION)
        for name in ("source", "high", "low", "item", "weight"):
            packed[name] = pairs[name]
        first_key = number[pairs_of_shard]
        # Sets of what came of lists have the highest numbers: in each shard they come last.
        of_lists = np.append(0, np.cumsum(sets >= exposure.FIRST_SET))[first_key]
        own_sets = np.diff(first_key - of_lists).tolist()
        packed["key"] = number[1:] - 1 - np.repeat(first_key[:-1], np.diff(pairs_of_shard))
        await self._store.run(
            [
                self._call(
                    shard,
                    keys[first_key[shard] : first_key[shard + 1]],
                    own_sets[shard],
                    popular[popular_of[shard] : popular_of[shard + 1]].tobytes(),
                    packed[pairs_of_shard[shard] : pairs_of_shard[shard + 1]].tobytes(),
                    sources,
                )
                for shard in np.flatnonzero(np.diff(popular_of) + np.diff(pairs_of_shard)).tolist()
            ]
        )

    async def add_sums(self, epoch: int, counted: PastCounts, parts: int) -> None:
        """Add what past events add; what a shard has of this epoch it does not take again.

        Args:
            epoch: number of the epoch, higher than all before it.
            counted: its sums, the same whenever they are added again.
            parts: in which they go (``parts_for``), the same whenever they are added again.
        """
        sums = SumCalls(self.sets, counted, parts)
        for part in range(parts):
            # One after the other: a shard remembers the number of the last.
            await self._store.run(
                [
                    (
                        "add", len(keys), *keys, part_number(epoch, part), 2 * MAX_NEIGHBOURS,
                        MAX_POPULAR, self._set_ttl_ms, *packed,
                    )
                    for keys, *packed in sums.of(part)
                ]
            )  # fmt: skip

    def _in_countries(
        self, admissions: Sequence[Admission], new: OwnedEvents, popular: NDArray[np.void]
    ) -> NDArray[np.void]:
        """Of the new interactions that happened in a country: what they add to its popularity."""
        if not any(each.countries for each in admissions):
            return np.empty(0, dtype=_PAIR)
        countries = [
            country
            for each in admissions
            for country in (each.countries or (None,) * len(each.events))
        ]
        of_new = [countries[number] for number in new.number.tolist()]
        here = [at for at, country in enumerate(of_new) if country]
        added = np.empty(len(here), dtype=_PAIR)
        for name in ("source", "high", "low", "item", "weight"):
            added[name] = popular[name][here]
        hashes = [place_hash(country) for country in of_new if country]
        shards = self.sets.shards_of(new.hashes[here])
        added["one"] = self.sets.of_countries(np.array(hashes, np.int64), shards)
        return added

    def _of_lists(self, responses: Sequence[Response], code: Mapping[str, int]) -> NDArray[np.void]:
        """What was shown and clicked, by item and position, and all of it by source."""
        found = [np.empty(0, dtype=_PAIR)]
        for each in responses:
            shards, event = self.sets.shards_of(each.items), each.event
            rows = np.empty(len(each.items), dtype=_PAIR)
            _place(rows, np.array(code[event.source]), np.array(event.offset))
            rows["weight"] = self.weight(event.time)
            rows["one"] = exposure.response_sets(each.bundle, shards)
            rows["item"] = exposure.response_members(event.kind, each.sources, each.positions)
            found.append(rows)
            if event.kind in exposure.ITEM_KINDS:
                of_items = rows.copy()
                of_items["one"] = exposure.item_sets(event.kind, shards)
                of_items["item"] = exposure.item_members(each.items, each.positions)
                found.append(of_items)
        return np.concatenate(found)

    async def looks(
        self, bundle: str, *, of_items: bool = True
    ) -> tuple[list[Neighbours], Neighbours]:
        """What was shown and what was clicked, by ``exposure.item_members``, nothing unless
        ``of_items``; and what came of the lists of a bundle, by ``exposure.response_members``. In
        one trip."""
        shards = np.arange(self.sets.shards)
        kinds = exposure.ITEM_KINDS if of_items else ()
        sets = [exposure.item_sets(kind, shards) for kind in kinds]
        sets.append(exposure.response_sets(bundle, shards))
        keys = [self.sets.key(one) for one in np.concatenate(sets).tolist()]
        parts = await self.strongest_of(keys, MAX_POPULAR)
        united = [
            _united(parts[start : start + self.sets.shards])
            for start in range(0, len(parts), self.sets.shards)
        ]
        return united[:-1], united[-1]

    def _by_shard(
        self, additions: NDArray[np.void], placed_by: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.void]]:
        """Where the additions of each shard begin and the last ones end, and these in that order.

        Those of one item or query stay together, in the order in which they came.
        """
        shards = self.sets.shards_of(placed_by)
        order = np.lexsort((placed_by, shards))
        starts = np.searchsorted(shards[order], np.arange(self.sets.shards + 1))
        return starts, additions[order]

    def _call(
        self, shard: int, set_keys: Sequence[str], own_sets: int, popular: bytes, pairs: bytes,
        sources: Sequence[str],
    ) -> tuple[Any, ...]:  # fmt: skip
        keys = [*self.sets.shard_keys(shard), *set_keys]
        return (
            "count", len(keys), *keys, MAX_NEIGHBOURS, MAX_POPULAR, self._set_ttl_ms,
            popular, pairs, own_sets, *sources,
        )  # fmt: skip

    async def neighbours(
        self, items: Sequence[int], most: int = MAX_NEIGHBOURS
    ) -> list[Neighbours]:
        """The strongest of each set in one trip: the neighbours of an item hash, the choices after
        a query (``query_hash``), or a part of what is popular in a country (``sets``)."""
        return await self.strongest_of([self.sets.key(item) for item in items], most)

    async def chosen_after(
        self, queries: Sequence[str], most: int = MAX_NEIGHBOURS
    ) -> list[Neighbours]:
        """What was chosen most within 30 minutes after each search, in one trip."""
        hashes = [query_hash(cut_query(query)) for query in queries]
        return await self.strongest_of([self.sets.key(each) for each in hashes], most)

    async def popular(self) -> Neighbours:
        """All items that have a count, strongest first."""
        parts = await self.strongest_of(
            [self.sets.shard_keys(shard)[1] for shard in range(self.sets.shards)], MAX_POPULAR
        )
        items = np.concatenate([part.items for part in parts])
        weights = np.concatenate([part.weights for part in parts])
        order = strongest(weights, items, len(items))
        return Neighbours(items[order], weights[order])

    async def strongest_of(self, keys: Sequence[str], most: int) -> list[Neighbours]:
        """The strongest members of the set of each key; those of one shard are read together."""
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


def _united(parts: Sequence[Neighbours]) -> Neighbours:
    """Of all shards, which have no member in common but those that add up."""
    members = np.concatenate([part.items for part in parts])
    weights = np.concatenate([part.weights for part in parts])
    distinct, which = np.unique(members, return_inverse=True)
    return Neighbours(distinct, np.bincount(which, weights, len(distinct)).astype(np.float64))


def _place(
    additions: NDArray[np.void], source: NDArray[np.int64], offset: NDArray[np.int64]
) -> None:
    """Write where each addition comes from."""
    additions["source"] = source
    additions["high"], additions["low"] = offset >> 32, offset & 0xFFFFFFFF
