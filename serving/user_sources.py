"""Sources that start from the user: what goes with the newest items, and what is bought again."""

import numpy as np
from numpy.typing import NDArray

from model.pool_table import Entries, only_usable
from model.proposals import first_of_lists
from model.signals import Origin, own_repeat
from serving.neighbour_cache import NeighbourCache
from serving.source import Asked, Ties


class Together:
    """What is seen together with each of the user's newest items."""

    name, origin = "together", Origin.TOGETHER

    def __init__(self, most: int) -> None:
        self._most = most

    def reads(self, asked: Asked) -> NDArray[np.uint64]:
        """The neighbours of the user's newest items."""
        return asked.seeds[0]

    def entries(self, asked: Asked, sets: NeighbourCache) -> Entries:
        """Co-visits with the newest items; leaves behind what ties them to those."""
        seeds, starts = asked.seeds
        held = sets.take(seeds, self._most)
        may = asked.catalog.usable(held.rows)
        owner = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        owner = np.repeat(owner, held.sizes)[may]
        asked.ties = ties = Ties(
            np.repeat(seeds, held.sizes)[may], held.rows[may], held.weights[may]
        )
        return Entries(owner, ties.rows, ties.weights / asked.units[owner])


class Repeat:
    """What the user has bought before."""

    name, origin = "repeat", Origin.REPEAT

    def __init__(self, most: int, half_life_days: float) -> None:
        self._most = most
        self._half_life_days = half_life_days

    def entries(self, asked: Asked, sets: NeighbourCache) -> Entries:
        """How strongly the user keeps buying each item."""
        bought = asked.requests.purchases
        strength = own_repeat(bought, asked.requests.times, self._half_life_days)
        rows = asked.catalog.rows_of_hashes(bought.items)
        newest = first_of_lists(Entries(bought.owner, rows, strength), self._most)
        return only_usable(newest, asked.catalog.usable)
