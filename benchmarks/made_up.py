"""Items and histories that benchmarks of speed work on: many users, few of many items in demand."""

import numpy as np

from model.events import INTERACTION_KINDS, Click
from model.features import Interactions, Vocabulary

ITEM_COUNT = 12_102
LENGTH = 50
LONG_TAIL = 3
"""Item ``n * u ** 3`` for uniform ``u``: a tenth of the items gets 46% of the events."""
LONGEST_PAUSE_MS = 7_200_000


def item_ids(count: int) -> list[str]:
    """The ids of the catalogue."""
    return [f"item-{number}" for number in range(count)]


def long_tailed(chance: np.random.Generator, items: int, count: int) -> list[int]:
    """Numbers of items, few of which are many."""
    numbers: list[int] = (items * chance.random(count) ** LONG_TAIL).astype(int).tolist()
    return numbers


def made_up_histories(
    count: int, length: int, vocabulary: Vocabulary, *, seed: int
) -> list[Interactions]:
    """Clicks of so many users, ``length`` each, an hour apart on average."""
    chance = np.random.default_rng(seed)
    return [
        Interactions(
            vocabulary.hashes[long_tailed(chance, len(vocabulary.ids), length)],
            np.full(length, INTERACTION_KINDS[Click], np.uint8),
            np.cumsum(chance.integers(1000, LONGEST_PAUSE_MS, length)),
        )
        for _ in range(count)
    ]
