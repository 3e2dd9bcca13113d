"""The shapes in which runs are made, so that few are made for the first time while events wait.

How many users, how many events of each, how many candidates. On a GPU all three go up in steps, and
a run waits for its longest user. On a CPU padding costs its share of the run, so that users are as
many as they are, and those with short histories are run apart from those with long ones; a shape
that is new costs a fifth of a millisecond there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SHORTEST, NARROWEST, WIDEST_WARMED = 8, 64, 512
FEWEST_APART = 8
"""Users that are worth a run of their own: eight events less of each pay for its fixed cost."""


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

    def apart(self, needed: Sequence[int]) -> list[tuple[int, NDArray[np.int64] | None]]:
        """Runs of a micro-batch: each one's window, and which users are in it; None: all.

        Args:
            needed: of each user the events that his window must hold, at most L.
        """
        if self.in_steps or len(needed) < 2 * FEWEST_APART:
            return [(max(needed), None)]
        found: list[tuple[int, NDArray[np.int64] | None]] = []
        window = np.searchsorted(self.lengths, needed)
        users = np.argsort(window, kind="stable")
        first = 0
        for number, length in enumerate(self.lengths[: int(window.max())]):
            last = int((window <= number).sum())
            if last - first >= FEWEST_APART and len(users) - last >= FEWEST_APART:
                found.append((length, users[first:last]))
                first = last
        return [*found, (max(needed), users[first:] if first else None)]

    def warmed(self) -> list[Bucket]:
        """What to run before the first event; the longest windows and most users first."""
        users = steps(1, self.most_users)[::-1]
        if not self.in_steps:
            return [Bucket(each, self.length, NARROWEST) for each in users]
        widths = steps(NARROWEST, WIDEST_WARMED)
        return [
            Bucket(size, length, width, self.words)
            for length, width, size in product(self.lengths[::-1], widths, users)
        ]
