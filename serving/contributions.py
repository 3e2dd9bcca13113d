"""Which of a user's items speak for an item of his list, and how much, as far as the path knows it
without a further run of the network. Pure.

What an item owes to another one is what its score would lose without it. The repeat and the
together part of the blend are sums over the user's items, of which the path has every term in hand,
so that theirs is known exactly; the network's part is not: see ``serving.leave_one_out``.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.blend import BlendWeights
from model.radix import radix_order
from model.signals import Origin
from serving.candidates import CandidateTable
from serving.catalog import Catalog
from serving.recommendation import Contribution

MOST_NAMED = 3
"""Of each item: more tell a person nothing, and every one takes 40 bytes of a list."""
DIGITS = 4
"""As many as of a score."""


class Shown(NamedTuple):
    """The items of all lists, list after list: arrays [N]."""

    owner: NDArray[np.int64]
    """Number of the list."""
    places: NDArray[np.int64]
    """Among the candidates; those that are none, the network's own, lie beyond."""
    rows: NDArray[np.int64]
    """Of the catalogue."""
    sources: NDArray[np.uint8]
    """Bits, at least one each."""
    sponsored: NDArray[np.bool_] | None = None
    """Of those that a rule has placed, which are paid for; None for none."""


class ShownTies(NamedTuple):
    """What ties shown items to their users' items: of each one the ``MOST_NAMED`` strongest, the
    strongest first. Arrays [T]."""

    number: NDArray[np.int64]
    """Of the shown item, rising."""
    rows: NDArray[np.int64]
    """Of the user's item."""
    weights: NDArray[np.float64]
    places: NDArray[np.int64]
    """Of the shown item among the candidates."""

    def strongest(self, shown: int) -> NDArray[np.int64]:
        """The row of that one of the user's items with which each shown item is seen most, and of
        equals the newest. Int64 [N]; -1 where there is none."""
        rows = np.full(shown, -1, np.int64)
        # The last one written stays.
        rows[self.number[::-1]] = self.rows[::-1]
        return rows


class Owed(NamedTuple):
    """What shown items owe to their users' items: three arrays [M], in any order."""

    number: NDArray[np.int64]
    """Of the shown item."""
    rows: NDArray[np.int64]
    """Of the user's item; -1 where the catalogue does not have it."""
    amounts: NDArray[np.float64]


def ties_of_shown(shown: Shown, candidates: CandidateTable, catalog: Catalog) -> ShownTies:
    """The ties of all shown items to items that the catalogue has."""
    tied = np.flatnonzero(shown.sources & Origin.TOGETHER.value)
    number_of = np.full(len(candidates.owner), -1, np.int64)
    number_of[shown.places[tied]] = tied
    number = number_of[candidates.tie_places]
    here = np.flatnonzero(number >= 0)
    rows = catalog.rows_of_hashes(candidates.ties.seeds[here])
    here, rows = here[rows >= 0], rows[rows >= 0]
    # A user's newest items come first: of equals the newest one is named.
    best = _greatest(number[here], candidates.ties.weights[here], len(shown.rows), MOST_NAMED)
    here = here[best]
    return ShownTies(
        number[here], rows[best], candidates.ties.weights[here], candidates.tie_places[here]
    )


def owed_by_counts(
    shown: Shown, ties: ShownTies, candidates: CandidateTable, weights: BlendWeights
) -> Owed:
    """What the repeat and the together part of the blend owe to the user's items.

    Where a user has more than ``model.signals.SEEDS`` items, the eleventh would take the place of
    one that went; that is not looked at.
    """
    together = candidates.pool.together[ties.places].astype(np.float64)
    own = ties.weights / candidates.units[candidates.owner[ties.places]]
    rest = np.maximum(together - own, 0)
    scale = weights.covisit_scale
    repeated = np.flatnonzero(shown.sources & Origin.REPEAT.value)
    strength = candidates.pool.repeat[shown.places[repeated]].astype(np.float64)
    return Owed(
        np.concatenate([ties.number, repeated]),
        np.concatenate([ties.rows, shown.rows[repeated]]),
        np.concatenate(
            [
                weights.covisit * (np.log1p(together / scale) - np.log1p(rest / scale)),
                weights.repeat * np.log1p(strength / weights.repeat_scale),
            ]
        ),
    )


def contributions(
    owed: Owed, shown: int, catalog: Catalog, most: int = MOST_NAMED
) -> list[tuple[Contribution, ...]]:
    """Of each of ``shown`` items the greatest amounts, the greatest first, of items that the
    catalogue has. Amounts that are nothing, or less, are none."""
    amounts = owed.amounts.round(DIGITS)
    kept = np.flatnonzero((amounts > 0) & (owed.rows >= 0))
    kept = kept[_greatest(owed.number[kept], amounts[kept], shown, most)]
    items, number = catalog.items, owed.number[kept]
    made = list(
        map(
            Contribution,
            [items[row].item_id for row in owed.rows[kept].tolist()],
            amounts[kept].tolist(),
        )
    )
    found: list[tuple[Contribution, ...]] = [()] * shown
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    bounds = pairwise([*starts.tolist(), len(made)])
    for at, (start, end) in zip(number[starts].tolist(), bounds, strict=True):
        found[at] = tuple(made[start:end])
    return found


def _greatest(
    number: NDArray[np.int64], values: NDArray[np.float64], numbers: int, most: int
) -> NDArray[np.int64]:
    """Places of the ``most`` greatest values of each number below ``numbers``, number after number
    and the greatest first; of equals the earlier one."""
    if not len(number):
        return np.empty(0, np.int64)
    order = radix_order(number, numbers)
    starts = np.flatnonzero(np.diff(number[order], prepend=-1))
    sizes = np.diff(starts, append=len(order))
    # A row for each number: sorting many short rows is faster than sorting by two keys.
    cells = np.arange(sizes.max()) < sizes[:, None]
    table = np.full(cells.shape, np.inf)
    table[cells] = -values[order]
    best = np.argsort(table, axis=1, kind="stable")[:, :most]
    places: NDArray[np.int64] = order[(starts[:, None] + best)[best < sizes[:, None]]]
    return places
