"""What lists are about: categories of the best matches and of the user's newest items."""

import numpy as np

from model.interests import Interests, interests
from model.proposals import first_of_lists
from serving.item_groups import ItemGroups
from serving.source import Asked

MATCHES_LOOKED_AT = 5
"""What stands lower says little about what is searched for."""


def interests_of(asked: Asked, groups: ItemGroups) -> Interests:
    """The groups that each list is about: of those of the query first, then the user's newest."""
    seeds, starts = asked.seeds
    matches = first_of_lists(asked.matches, MATCHES_LOOKED_AT)
    owner = np.concatenate([matches.owner, np.repeat(np.arange(len(starts) - 1), np.diff(starts))])
    rows = np.concatenate([matches.rows, asked.catalog.rows_of_hashes(seeds)])
    return interests(owner, groups.of(rows))
