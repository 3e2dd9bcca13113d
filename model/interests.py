"""What lists are about: the categories of a user's newest items, and equal shares of each.

The only implementation, for evaluation and serving; a caller brings rows and numbers of groups of
a table of its own.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.pool_table import Entries
from model.proposals import NO_ENTRIES, first_of_lists
from model.ragged import ranges

MOST_GROUPS = 3
"""Per list. More would leave each of them a few places."""
NONE = 0
"""The number of what an item does not say."""

RowsOfGroup: TypeAlias = Callable[[int], NDArray[np.int64]]


class Interests(NamedTuple):
    """Distinct groups of each list, what speaks most for the list first."""

    owner: NDArray[np.int64]
    """Numbers of the lists, in rising order."""
    groups: NDArray[np.int32]


def interests(owner: NDArray[np.int64], groups: NDArray[np.int32]) -> Interests:
    """The first ``MOST_GROUPS`` distinct groups of each list; ``NONE`` is none.

    Args:
        owner: int64 [N], numbers of the lists, in any order.
        groups: int32 [N], of a list what speaks most for it first.
    """
    has_one = groups != NONE
    owner, groups = owner[has_one], groups[has_one]
    order = np.argsort(owner, kind="stable")
    owner, groups = owner[order], groups[order]
    span = int(groups.max(initial=NONE)) + 1
    _, firsts = np.unique(owner * span + groups, return_index=True)
    firsts.sort()
    kept = first_of_lists(Entries(owner[firsts], firsts, np.ones(len(firsts))), MOST_GROUPS)
    return Interests(kept.owner, groups[kept.rows])


def in_turn(interests: Interests, rows_of: RowsOfGroup, most: int) -> Entries:
    """For each list equal shares of the rows of its groups, together at most ``most``.

    Args:
        interests: of all lists.
        rows_of: the best rows of a group, best first; asked once for each distinct group.
        most: for a list.
    """
    owner, groups = interests
    if not len(owner):
        return NO_ENTRIES
    distinct, which = np.unique(groups, return_inverse=True)
    parts = [rows_of(group) for group in distinct.tolist()]
    sizes = np.array([len(part) for part in parts], np.int64)
    begins = np.cumsum(sizes) - sizes
    share = -(-most // np.bincount(owner)[owner])
    taken = np.minimum(sizes[which], share)
    rows = np.concatenate(parts)[ranges(begins[which], taken)]
    return first_of_lists(Entries(np.repeat(owner, taken), rows, np.ones(len(rows))), most)
