"""Shared counts in Redis: what is popular, what goes together, what is chosen after a search.

Counts decay with event time by forward decay (Cormode et al., "Forward Decay", 2009): an event
adds 2 ** ((time - LANDMARK) / half life), so additions commute and nothing is ever rescaled; a
reader divides by the weight of its own present. Popularity within a category is read off the same
numbers: a category is what the catalogue says now, not what it said when the event came.

They live in shards by item, each shard in one hash slot beside the offsets it has applied of
every source partition: a redelivered batch is applied to each shard once, whatever crashed
(``serving.additions``).
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.signals import NEIGHBOURS, strongest
from model.traits import place_hash
from serving import exposure
from serving.additions import Additions, DueAdditions
from serving.count_rows import MEMBER, MOST_STRINGS, added_up
from serving.count_sets import CountSets
from serving.count_sums import PackedSums, SumCalls, part_number
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
from serving.trips import all_of, run_trips

LANDMARK_MS = 1_500_000_000_000
MAX_NEIGHBOURS = NEIGHBOURS
"""What lists read of an item. Twice as many are kept, and half as many again may stand behind them:
at most 2.7 KB an item, and the room that the server leaves for more."""
MAX_POPULAR = 20_000
"""Kept per shard; far below any list's reach."""

EVERYTHING = 1 << 31
KEYS_AT_ONCE = 32
"""Read by one call, in which the server does nothing else."""


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

    async def are_behind(self) -> bool:
        """Whether an earlier version has counted here, in a form that is not read any more."""
        return bool(await self._store.redis.exists(self.sets.before_rows))

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
        popular = Additions(
            new.hashes, new.hashes, self.weights(new.times), source[new.number], offset[new.number]
        )
        pairs = Additions(
            found.one, found.other, self.weights(found.times),
            source[found.event], offset[found.event],
        )  # fmt: skip
        in_countries = self._in_countries(admissions, new, popular)
        of_lists = self._of_lists(responses, code)
        due = DueAdditions(
            self.sets, sources, popular, Additions.united([pairs, *in_countries, *of_lists])
        )
        while due.shards:
            sums = SumCalls(self.sets, *due.sums())
            due.answered(
                await self._store.run(
                    [self._call("count", sums.of(shard), *told) for shard, told in due.fronts()]
                )
            )

    async def add_sums(self, epoch: int, counted: PastCounts, parts: int) -> None:
        """Add what past events add; what a shard has of this epoch it does not take again.

        Args:
            epoch: number of the epoch, higher than all before it.
            counted: its sums, the same whenever they are added again.
            parts: in which they go (``parts_for``), the same whenever they are added again.
        """
        # Beside what else is to be done: to sort a million sums takes a quarter of a second.
        sums = await asyncio.to_thread(SumCalls, self.sets, *counted, parts)

        async def add_to(shards: range) -> None:
            trips = ((part, self._adding(epoch, part, sums, shards)) for part in range(parts))
            # One after the other: a shard remembers the number of the last.
            await run_trips(self._store, trips, at_once=1)

        # While one half is packed the server is at work for the other.
        await all_of(add_to(range(half, self.sets.shards, 2)) for half in (0, 1))

    def _adding(
        self, epoch: int, part: int, sums: SumCalls, shards: range
    ) -> list[tuple[Any, ...]]:
        """The calls that add a part of an epoch's sums."""
        packed, number = [sums.of(shard, part) for shard in shards], part_number(epoch, part)
        return [self._call("add", each, number) for each in packed if each.popular or each.rows]

    def _call(self, function: str, sums: PackedSums, *told: Any) -> tuple[Any, ...]:
        keys, *packed = sums
        return (
            function, len(keys), *keys,
            2 * MAX_NEIGHBOURS, MAX_POPULAR, self._set_ttl_ms, *packed, *told,
        )  # fmt: skip

    def _in_countries(
        self, admissions: Sequence[Admission], new: OwnedEvents, popular: Additions
    ) -> list[Additions]:
        """Of the new interactions that happened in a country: what they add to its popularity."""
        if not any(each.countries for each in admissions):
            return []
        countries = [
            country
            for each in admissions
            for country in (each.countries or (None,) * len(each.events))
        ]
        of_new = [countries[number] for number in new.number.tolist()]
        here = [at for at, country in enumerate(of_new) if country]
        hashes = [place_hash(country) for country in of_new if country]
        shards = self.sets.shards_of(new.hashes[here])
        sets = self.sets.of_countries(np.array(hashes, np.int64), shards)
        return [
            Additions(
                sets, popular.members[here], popular.weights[here],
                popular.sources[here], popular.offsets[here],
            )
        ]  # fmt: skip

    def _of_lists(self, responses: Sequence[Response], code: Mapping[str, int]) -> list[Additions]:
        """What was shown and clicked, by item and position, and all of it by source."""
        found: list[Additions] = []
        for each in responses:
            shards, event = self.sets.shards_of(each.items), each.event
            size = len(each.items)
            rows = Additions(
                exposure.response_sets(each.bundle, shards),
                exposure.response_members(event.kind, each.sources, each.positions),
                np.full(size, self.weight(event.time)),
                np.full(size, len(code) + code[event.source]),
                np.full(size, event.offset),
            )
            found.append(rows)
            if event.kind in exposure.ITEM_KINDS:
                found.append(
                    rows._replace(
                        sets=exposure.item_sets(event.kind, shards),
                        members=exposure.item_members(each.items, each.positions),
                    )
                )
        return found

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

    async def neighbours(
        self, items: Sequence[int], most: int = MAX_NEIGHBOURS
    ) -> list[Neighbours]:
        """The strongest of each set in one trip: the neighbours of an item hash, the choices after
        a query (``query_hash``), or a part of what is popular in a country (``sets``)."""
        return await self.rows_of([self.sets.key(item) for item in items], most)

    async def chosen_after(
        self, queries: Sequence[str], most: int = MAX_NEIGHBOURS
    ) -> list[Neighbours]:
        """What was chosen most within 30 minutes after each search, in one trip."""
        hashes = [query_hash(cut_query(query)) for query in queries]
        return await self.rows_of([self.sets.key(each) for each in hashes], most)

    async def popular(self) -> Neighbours:
        """All items that have a count, strongest first."""
        parts = await self.strongest_of(
            [self.sets.shard_keys(shard)[1] for shard in range(self.sets.shards)], MAX_POPULAR
        )
        items = np.concatenate([part.items for part in parts])
        weights = np.concatenate([part.weights for part in parts])
        order = strongest(weights, items, len(items))
        return Neighbours(items[order], weights[order])

    async def held_in(self, keys: Sequence[str]) -> list[Neighbours]:
        """All that the shards keep under these keys, popularity or anything else."""
        rows = [key for key in keys if not key.endswith(":popular")]
        others = [key for key in keys if key.endswith(":popular")]
        found = dict(zip(rows, await self.rows_of(rows, EVERYTHING), strict=True))
        found |= zip(others, await self.strongest_of(others, EVERYTHING), strict=True)
        return [found[key] for key in keys]

    async def rows_of(self, keys: Sequence[str], most: int) -> list[Neighbours]:
        """The strongest items of the string of each key; those of one shard are read together."""
        strings = await self._read("rows", keys)
        found: list[Neighbours] = []
        for first in range(0, len(strings), MOST_STRINGS):
            rows = added_up(strings[first : first + MOST_STRINGS])
            for start, end in pairwise(rows.ends.tolist()):
                those = slice(start, min(end, start + most))
                # Copies: whoever keeps one of them would else keep them all in memory.
                found.append(Neighbours(rows.items[those].copy(), rows.weights[those].copy()))
        return found

    async def strongest_of(self, keys: Sequence[str], most: int) -> list[Neighbours]:
        """The strongest members of the sorted set of each key, likewise."""
        found: list[Neighbours] = []
        for each in await self._read("strongest", keys, most):
            members = np.frombuffer(each, MEMBER)
            items, weights = members["member"].astype(np.uint64), members["weight"]
            found.append(Neighbours(items, weights.astype(np.float64)))
        return found

    async def _read(self, function: str, keys: Sequence[str], *arguments: int) -> list[bytes]:
        of_shard: defaultdict[str, list[int]] = defaultdict(list)
        for at, key in enumerate(keys):
            of_shard[key[: key.index("}")]].append(at)
        together = [
            places[first : first + KEYS_AT_ONCE]
            for places in of_shard.values()
            for first in range(0, len(places), KEYS_AT_ONCE)
        ]
        replies = await self._store.run(
            [(function, len(some), *(keys[at] for at in some), *arguments) for some in together]
        )
        found = [b""] * len(keys)
        for some, reply in zip(together, replies, strict=True):
            for at, each in zip(some, reply, strict=True):
                found[at] = each
        return found


def _united(parts: Sequence[Neighbours]) -> Neighbours:
    """Of all shards, which have no member in common but those that add up."""
    members = np.concatenate([part.items for part in parts])
    weights = np.concatenate([part.weights for part in parts])
    distinct, which = np.unique(members, return_inverse=True)
    return Neighbours(distinct, np.bincount(which, weights, len(distinct)).astype(np.float64))
