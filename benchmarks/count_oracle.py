"""What the shared counts of a log have to be: every pair, nothing pruned, computed plainly."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.events import Purchase, Search
from model.ids import item_hash
from model.signals import TOGETHER_MS

Deed: TypeAlias = "Purchase | Search"
Weigh: TypeAlias = Callable[[int], float]
"""What an event at that time (epoch milliseconds) adds."""


@dataclass(frozen=True)
class Strongest:
    """Weights by item hash, strongest first."""

    items: NDArray[np.uint64]
    weights: NDArray[np.float64]


def popularity(log: Sequence[Deed], weigh: Weigh) -> dict[int, float]:
    """Weight by item hash."""
    total: defaultdict[int, float] = defaultdict(float)
    for event in log:
        if isinstance(event, Purchase):
            total[item_hash(event.item_id)] += weigh(event.time)
    return dict(total)


def after_queries(log: Sequence[Deed], weigh: Weigh) -> dict[str, dict[int, float]]:
    """By query, the weight of what its user chose within 30 minutes after it."""
    total: defaultdict[str, defaultdict[int, float]] = defaultdict(lambda: defaultdict(float))
    asked: defaultdict[str, list[Search]] = defaultdict(list)
    # What is chosen at the very time of a search comes after it.
    for event in sorted(log, key=lambda event: (event.time, isinstance(event, Purchase))):
        if isinstance(event, Search):
            asked[event.user_id].append(event)
            continue
        for search in reversed(asked[event.user_id]):
            if event.time - search.time > TOGETHER_MS:
                break
            total[search.query][item_hash(event.item_id)] += weigh(event.time)
    return {query: dict(chosen) for query, chosen in total.items()}


def neighbours(log: Sequence[Deed], weigh: Weigh) -> dict[int, Strongest]:
    """By item hash, all its neighbours: items of one user within 30 minutes."""
    bought = sorted(
        (event for event in log if isinstance(event, Purchase)),
        key=lambda event: (event.user_id, event.time),
    )
    _, users = np.unique([event.user_id for event in bought], return_inverse=True)
    times = np.array([event.time for event in bought], np.int64)
    weights = np.array([weigh(event.time) for event in bought])
    hashes, items = np.unique(
        np.array([item_hash(event.item_id) for event in bought], np.uint64), return_inverse=True
    )
    found: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
    distance = 1
    while True:
        near = users[distance:] == users[:-distance]
        near &= times[distance:] - times[:-distance] <= TOGETHER_MS
        if not near.any():
            break
        one, other = items[:-distance][near], items[distance:][near]
        weight, differ = weights[distance:][near], one != other
        one, other, weight = one[differ], other[differ], weight[differ]
        # The later one of the two is the second: its weight holds, both ways.
        found.append((one * len(hashes) + other, weight))
        found.append((other * len(hashes) + one, weight))
        distance += 1
    pairs, place = np.unique(np.concatenate([each for each, _ in found]), return_inverse=True)
    totals = np.bincount(place, np.concatenate([weight for _, weight in found])).astype(float)
    one, other = pairs // len(hashes), pairs % len(hashes)
    order = np.lexsort((-totals, one))
    one, other, totals = one[order], other[order], totals[order]
    ends = np.searchsorted(one, np.arange(len(hashes) + 1))
    return {
        int(hashes[at]): Strongest(
            hashes[other[ends[at] : ends[at + 1]]], totals[ends[at] : ends[at + 1]]
        )
        for at in range(len(hashes))
        if ends[at] < ends[at + 1]
    }
