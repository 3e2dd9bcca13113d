"""The shapes in which runs are made, so that few are made for the first time while events wait.

How many users, how many events of each, how many candidates. On a GPU all three go up in steps, and
a run waits for its longest user. On a CPU padding costs its share of the run, so that users are as
many as they are, those with short histories are run apart from those with long ones, and many in
several runs; a shape that is new costs a fifth of a millisecond there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

SHORTEST, NARROWEST, WIDEST_WARMED = 8, 64, 512
FEWEST_APART = 8
"""Users that are worth a run of their own: eight events less of each pay for its fixed cost."""
MOST_TOGETHER = 64
"""On a CPU: what 256 users leave between two operations is in no cache, and costs 9% more."""

Users: TypeAlias = slice | NDArray[np.int64]
"""Which of a micro-batch."""


class Bucket(NamedTuple):
    """The shape of a run: the graph's B, L, C and W."""

    users: int
    length: int
    width: int
    """Candidates of a user."""
    words: int = 1
    """Of a query, where the network reads queries."""


def steps(first: int, last: int) -> tuple[int, ...]:
    """Doubling from ``first`` on, and ``last``."""
    found = []
    while first < last:
        found.append(first)
        first *= 2
    return (*found, last)


def doubled(need: int, first: int = 1) -> int:
    """A power of two, the first that is enough and no less than ``first``."""
    return max(first, 1 << (need - 1).bit_length())


@dataclass(frozen=True)
class Buckets:
    """Which shapes there are.

    Args:
        length: L of the network.
        most_users: of a micro-batch; more are run all the same.
        in_steps: whether users and candidates go up in steps, and all of a micro-batch is one run.
        short_windows: whether the graph takes fewer than L events.
        words: of the longest query.
    """

    length: int
    most_users: int
    in_steps: bool
    short_windows: bool
    words: int = 1

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Windows, the shortest first."""
        return steps(SHORTEST, self.length) if self.short_windows else (self.length,)

    def of(self, users: int, length: int, width: int, words: int = 1) -> Bucket:
        """The smallest shape that holds so many."""
        if self.in_steps:
            words = self.words
            # Of a full micro-batch there is one shape, and of a greater one the next power of two.
            most = self.most_users
            users = most if users <= most < doubled(users) else doubled(users)
        else:
            words = doubled(words)
        length = next(step for step in self.lengths if step >= length)
        return Bucket(users, length, doubled(width, NARROWEST), words)

    def apart(self, needed: Sequence[int]) -> list[tuple[int, Users]]:
        """Runs of a micro-batch: each one's window, and which users are in it.

        Args:
            needed: of each user the events that his window must hold, at most L.
        """
        everyone = slice(0, len(needed))
        longest = max(needed)
        if self.in_steps or len(needed) < 2 * FEWEST_APART:
            return [(longest, everyone)]
        if min(needed) == longest:
            return [(longest, some) for some in _in_parts(everyone)]
        found: list[tuple[int, Users]] = []
        window = np.searchsorted(self.lengths, needed)
        users = np.argsort(window, kind="stable")
        first = 0
        for number, length in enumerate(self.lengths[: int(window.max())]):
            last = int((window <= number).sum())
            if last - first >= FEWEST_APART and len(users) - last >= FEWEST_APART:
                found += [(length, users[some]) for some in _in_parts(slice(first, last))]
                first = last
        return found + [
            (longest, users[some] if first else some)
            for some in _in_parts(slice(first, len(users)))
        ]

    def warmed(self) -> list[Bucket]:
        """What to run before the first event; the longest windows and most users first."""
        if not self.in_steps:
            users = steps(1, min(self.most_users, MOST_TOGETHER))[::-1]
            return [Bucket(each, self.length, NARROWEST) for each in users]
        users, widths = steps(1, self.most_users)[::-1], steps(NARROWEST, WIDEST_WARMED)
        return [
            Bucket(size, length, width, self.words)
            for length, width, size in product(self.lengths[::-1], widths, users)
        ]


def _in_parts(users: slice) -> list[slice]:
    """The same users in parts of one size, each at most ``MOST_TOGETHER``."""
    count = users.stop - users.start
    parts = -(-count // MOST_TOGETHER)
    ends = [users.start + count * part // parts for part in range(parts + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]
