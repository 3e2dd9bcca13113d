"""What is popular in a country, from counts that lie beside those of popularity overall.

What is popular in a country of few events says little: it is drawn towards what is popular overall,
as far as ``SMOOTHING`` events would draw it (Dirichlet smoothing; Zhai & Lafferty, "A Study of
Smoothing Methods for Language Models", 2001).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serving.counts import Counts
from serving.neighbour_cache import NeighbourCache
from serving.source import Asked, Place

SMOOTHING = 100.0
"""Events: a country with as many is believed half."""


def sets_of_places(asked: Asked, counts: Counts) -> NDArray[np.uint64]:
    """The sets of the shared counts that hold what is popular in the countries of these lists."""
    sets = [counts.sets.of_country(country) for country in asked.countries]
    return np.concatenate([np.empty(0, np.uint64), *sets])


def places_of(asked: Asked, counts: Counts, sets: NeighbourCache) -> list[Place]:
    """The popular items of each country of these lists, once its sets have been read."""
    found: list[Place] = []
    for country, lists in asked.countries.items():
        held = sets.take(counts.sets.of_country(country))
        order = np.lexsort((held.rows, -held.weights))
        order = order[held.rows[order] >= 0]
        found.append(Place(lists, held.rows[order], held.weights[order]))
    return found


def in_places(
    popular: NDArray[np.float64],
    total: float,
    rows: NDArray[np.int64],
    owner: NDArray[np.int64],
    places: Sequence[Place],
    units: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Popularity as it would be if all events were like those of each list's own country.

    Args:
        popular: decayed events of each row overall, float64.
        total: forward-decayed events of all items.
        rows: of the catalogue, -1 for none; of the shape of ``popular``.
        owner: numbers of the lists, of the same shape.
        places: countries that are known of some lists; for the others nothing changes.
        units: float64 [L], forward-decayed weight of an event at the time of each list.

    Returns:
        float64, of the same shape.
    """
    result = popular.copy()
    if not total:
        return result  # nothing has been read yet
    for place in places:
        here = np.isin(owner, place.lists) & (rows >= 0)
        if not len(place.rows) or not here.any():
            continue
        unit = units[owner[here]]
        order = np.argsort(place.rows)
        at = np.minimum(np.searchsorted(place.rows, rows[here], sorter=order), len(order) - 1)
        is_counted = place.rows[order[at]] == rows[here]
        counted = np.where(is_counted, place.weights[order[at]], 0.0) / unit
        events, everywhere = place.weights.sum() / unit, total / unit
        share = (counted + SMOOTHING * popular[here] / everywhere) / (events + SMOOTHING)
        result[here] = share * everywhere
    return result
