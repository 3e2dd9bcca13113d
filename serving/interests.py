"""What lists are about: categories of the user's newest items and of the best matches."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.pool_table import Entries
from model.ragged import ranges
from serving.item_groups import NONE, ItemGroups
from serving.source import NO_ENTRIES, Asked, first_of_lists

MOST_GROUPS = 3
"""Per list. More would leave each of them a few places."""
MATCHES_LOOKED_AT = 5
"""What stands lower says little about what is searched for."""

RowsOfGroup: TypeAlias = Callable[[int], NDArray[np.int64]]


class Interests(NamedTuple):
    """Distinct groups of each list; of those of the query first, then the user's newest."""

    owner: NDArray[np.int64]
    """Numbers of the lists, in rising order."""
    groups: NDArray[np.int32]


def interests_of(asked: Asked, groups: ItemGroups) -> Interests:
    """The groups that each list is about, at most ``MOST_GROUPS``."""
    seeds, starts = asked.seeds
    matches = first_of_lists(asked.matches, MATCHES_LOOKED_AT)
    owner = np.concatenate([matches.owner, np.repeat(np.arange(len(starts) - 1), np.diff(starts))])
    rows = np.concatenate([matches.rows, asked.catalog.rows_of_hashes(seeds)])
    found = groups.of(rows)
    has_one = found != NONE
    owner, found = owner[has_one], found[has_one]
    order = np.argsort(owner, kind="stable")
    owner, found = owner[order], found[order]
    _, firsts = np.unique(owner * len(groups.codes.values) + found, return_index=True)
    firsts.sort()
    kept = first_of_lists(Entries(owner[firsts], firsts, np.ones(len(firsts))), MOST_GROUPS)
    return Interests(kept.owner, found[kept.rows])


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
    share = -(-most // np.bincount(owner))[owner]
    taken = np.minimum(sizes[which], share)
    rows = np.concatenate(parts)[ranges(begins[which], taken)]
    return first_of_lists(Entries(np.repeat(owner, taken), rows, np.ones(len(rows))), most)
