"""What live events add to the shared counts, and which of it each shard has not applied yet.

What a wave adds to a shard is summed, set by set and item by item, and goes there together with the
offsets that it comes from. A shard that has applied one of them before, for the wave comes again,
says how far it has come, and gets the sums of the rest.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from serving.count_sets import CountSets
from serving.past_pairs import Sums


class Additions(NamedTuple):
    """Additions to sets of the shared counts; five arrays of one length."""

    sets: NDArray[np.uint64]
    members: NDArray[np.uint64]
    weights: NDArray[np.float64]
    sources: NDArray[np.int64]
    """Number of the source (topic, partition) that each comes from."""
    offsets: NDArray[np.int64]

    @classmethod
    def united(cls, parts: Sequence[Self]) -> Self:
        """One after the other."""
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def summed(self, wanted: NDArray[np.bool_]) -> Sums:
        """The sums of those that are wanted, each set and member once."""
        sets, members, weights = self.sets[wanted], self.members[wanted], self.weights[wanted]
        if not len(sets):
            return Sums(sets, members, weights)
        order = np.lexsort((members, sets))
        sets, members = sets[order], members[order]
        is_first = (sets[1:] != sets[:-1]) | (members[1:] != members[:-1])
        starts = np.flatnonzero(np.append(True, is_first))
        return Sums(sets[starts], members[starts], np.add.reduceat(weights[order], starts))


class DueAdditions:
    """The additions of a wave, on their way into the shards.

    Args:
        sets: in which shard each set is.
        sources: names of all sources.
        popular: additions to popularity.
        pairs: to all else. What came of lists has offsets of its own: there the number of a source
            is higher by the number of all.
    """

    def __init__(
        self, sets: CountSets, sources: Sequence[str], popular: Additions, pairs: Additions
    ) -> None:
        self._names = sources
        self._popular = popular, self._cells(sets, popular)
        self._pairs = pairs, self._cells(sets, pairs)
        cells = sets.shards * 2 * len(sources)
        first, last = np.full(cells, np.iinfo(np.int64).max), np.full(cells, -1)
        for each, cell in (self._popular, self._pairs):
            np.minimum.at(first, cell, each.offsets)
            np.maximum.at(last, cell, each.offsets)
        self._first = first.reshape(sets.shards, -1)
        self._last = last.reshape(sets.shards, -1)
        self.shards: list[int] = np.flatnonzero((self._last >= 0).any(axis=1)).tolist()
        """That have not applied what is due."""

    def _cells(self, sets: CountSets, additions: Additions) -> NDArray[np.int64]:
        """Shard and source of each, in one number."""
        return sets.shards_of(additions.sets) * 2 * len(self._names) + additions.sources

    def sums(self) -> tuple[Sums, Sums]:
        """Of what is due: of popularity, and of all else."""
        first = np.full(self._first.shape, np.iinfo(np.int64).max)
        first[self.shards] = self._first[self.shards]
        popular, pairs = (
            each.summed(each.offsets >= first.ravel()[cell])
            for each, cell in (self._popular, self._pairs)
        )
        return popular, pairs

    def fronts(self) -> list[tuple[int, list[Any]]]:
        """Of each of ``shards``, what ``count`` of counts.lua is told of its sources."""
        told: dict[int, list[Any]] = {shard: [0] for shard in self.shards}
        shards, sources = np.nonzero(self._last >= 0)
        first, last = self._first[shards, sources], self._last[shards, sources]
        for shard, source, *ends in zip(
            *(column.tolist() for column in (shards, sources, first, last)), strict=True
        ):
            if shard in told:
                told[shard][0] += source < len(self._names)
                told[shard] += self._names[source % len(self._names)], *ends
        return list(told.items())

    def answered(self, replies: Sequence[Sequence[int]]) -> None:
        """Take what ``count`` has said of each of ``shards``."""
        refused: list[int] = []
        for shard, applied in zip(self.shards, replies, strict=True):
            if applied:
                refused.append(shard)
                sources = np.flatnonzero(self._last[shard] >= 0)
                due = np.array(applied, np.int64) + 1
                self._first[shard, sources] = np.maximum(self._first[shard, sources], due)
        self.shards = refused
