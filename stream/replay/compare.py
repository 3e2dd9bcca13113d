"""Two generations compared: each profile byte for byte, each shared count up to rounding."""

from collections.abc import Callable, Sequence

import numpy as np

from serving.candidates import wall_clock_ms
from serving.counts import KEYS_AT_ONCE, MAX_NEIGHBOURS, Counts, Neighbours
from serving.generations import GenerationError
from serving.store import Store
from stream.replay.comparison import (
    Comparison,
    CountDifference,
    ProfileDifference,
    UserComparison,
)
from stream.replay.first_difference import first_difference
from stream.replay.stored_keys import (
    count_pattern,
    is_of_lists,
    profile_pattern,
    profile_suffix,
    stored_keys,
)

TOLERANCE = 1e-9
"""Relative: sums of the same weights in another order differ by rounding, some 1e-16 each."""
MAY_BE_CUT = 2 * MAX_NEIGHBOURS
"""A set of so many members may have been cut to them, and which ones it kept depends on the order
in which partitions came."""
NEITHER, EQUAL, FIRST_ONLY, SECOND_ONLY, DIFFERENT = range(5)
"""What ``same`` of functions.lua answers."""


class Comparing:
    """A comparison under way.

    Args:
        one, other: counts of two generations of an installation.
        sample: how many differences of profiles and of counts to keep.
        told: called with the number of users looked at.
    """

    def __init__(
        self,
        one: tuple[Store, Counts],
        other: tuple[Store, Counts],
        *,
        sample: int = 10,
        told: Callable[[int], None] = lambda users: None,
    ) -> None:
        (self._one, self._one_counts), (self._other, self._other_counts) = one, other
        self._sample = sample
        self._told = told
        self._users = 0
        self._unit = self._one_counts.weight(wall_clock_ms())
        self.found = Comparison(self._one.generation, self._other.generation)

    async def all(self) -> Comparison:
        """Compare all profiles and counts; what the stream writes meanwhile may differ.

        Raises:
            redis.RedisError, serving.store.StoreError: Redis could not do its part.
        """
        ours, theirs = (profile_suffix(each.generation) for each in (self._one, self._other))
        prefix = self._one.prefix
        async for keys in stored_keys(
            self._one.redis, profile_pattern(prefix, self._one.generation)
        ):
            await self._compare([key.removesuffix(ours) for key in keys], is_first=True)
        async for keys in stored_keys(
            self._one.redis, profile_pattern(prefix, self._other.generation)
        ):
            await self._compare([key.removesuffix(theirs) for key in keys], is_first=False)
        await self._compare_counts()
        return self.found

    async def user(self, user_id: str) -> UserComparison:
        """Compare the profiles of one user.

        Raises:
            GenerationError: neither generation has one.
        """
        digest = self._one.digest(user_id)
        (ours,), (theirs,) = [await each.read([digest]) for each in (self._one, self._other)]
        first, second = self.found.first, self.found.second
        if not any(ours.profile) and not any(theirs.profile):
            raise GenerationError(
                f"neither generation {first} nor generation {second} has a profile of {user_id!r}; "
                "correct the id"
            )
        difference = first_difference(ours.profile, theirs.profile)
        return UserComparison(user_id, first, second, difference)

    async def _compare(self, heads: Sequence[str], *, is_first: bool) -> None:
        """The users of these keys; those of the second walk count only where the first has none."""
        ours, theirs = (profile_suffix(each.generation) for each in (self._one, self._other))
        only = () if is_first else (1,)
        answers = await self._one.run(
            [("same", 2, f"{head}{ours}", f"{head}{theirs}", *only) for head in heads]
        )
        self._users += len(heads) if is_first else answers.count(SECOND_ONLY)
        self._told(self._users)
        if is_first:
            self.found.profiles_equal += answers.count(EQUAL)
        wanted = (FIRST_ONLY, DIFFERENT) if is_first else (SECOND_ONLY,)
        await self._look_closer(
            [head for head, answer in zip(heads, answers, strict=True) if answer in wanted]
        )

    async def _look_closer(self, heads: Sequence[str]) -> None:
        """What is stored differs; what counts is what is read, without what was forgotten."""
        digests = [self._one.digest_in(head) for head in heads]
        ours, theirs = [await each.read(digests) for each in (self._one, self._other)]
        for head, one, two in zip(heads, ours, theirs, strict=True):
            if one.profile == two.profile:
                self.found.profiles_equal += 1
                continue
            if not any(two.profile):
                self.found.profiles_only_first += 1
            elif not any(one.profile):
                self.found.profiles_only_second += 1
            else:
                self.found.profiles_different += 1
            if len(self.found.profiles) < self._sample:
                event = first_difference(one.profile, two.profile)
                assert event is not None
                user = head[head.index("{") + 1 : head.index("}")]
                self.found.profiles.append(ProfileDifference(user, event))

    async def _compare_counts(self) -> None:
        """Each set that either generation has."""
        prefix = self._one.prefix
        heads = [each.sets.head for each in (self._one_counts, self._other_counts)]
        for which, generation in enumerate((self.found.first, self.found.second)):
            async for keys in stored_keys(self._one.redis, count_pattern(prefix, generation)):
                names = [
                    key.removeprefix(heads[which])
                    for key in keys
                    if key.startswith(heads[which])
                    and not is_of_lists(key)
                    and not key.endswith(":offsets")
                ]
                pairs = [(heads[0] + name, heads[1] + name) for name in names]
                if which == 1:
                    pairs = await self._only_second(pairs)
                await self._compare_sets(pairs)

    async def _only_second(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        held = await self._one_counts.held_in([one for one, _ in pairs])
        return [pair for pair, each in zip(pairs, held, strict=True) if not len(each.items)]

    async def _compare_sets(self, pairs: Sequence[tuple[str, str]]) -> None:
        for at in range(0, len(pairs), KEYS_AT_ONCE):
            some = pairs[at : at + KEYS_AT_ONCE]
            ours = await self._one_counts.held_in([one for one, _ in some])
            theirs = await self._one_counts.held_in([two for _, two in some])
            for (key, _), one, two in zip(some, ours, theirs, strict=True):
                self._compare_set(key[key.index("{") :], one, two)

    def _compare_set(self, name: str, one: Neighbours, two: Neighbours) -> None:
        members, which = np.unique(np.concatenate([one.items, two.items]), return_inverse=True)
        ours, theirs = np.zeros(len(members)), np.zeros(len(members))
        ours[which[: len(one.items)]] = one.weights
        theirs[which[len(one.items) :]] = two.weights
        differ = np.abs(ours - theirs) > TOLERANCE * np.maximum(ours, theirs)
        if not differ.any():
            self.found.counts_equal += 1
        elif min(len(one.items), len(two.items)) >= MAY_BE_CUT and ":popular" not in name:
            self.found.counts_different_where_cut += 1
        else:
            self.found.counts_different += 1
            at = int(np.flatnonzero(differ)[0])
            if len(self.found.counts) < self._sample:
                self.found.counts.append(
                    CountDifference(
                        name,
                        int(members[at]),
                        float(ours[at] / self._unit),
                        float(theirs[at] / self._unit),
                    )
                )
