"""Item vectors and user states with the structure that trained ones have.

Groups of unequal size around centres (four times the root of the items), each long in twelve
directions of its own and short in all others, and a learned bias; a state lies near an item. They
are about as hard to find as those of a network that was trained on a shop (diginetica, 42 thousand
items): of 820 lists around directions, 16 hold .85 of the nearest 100 and 64 hold .95, where of the
trained ones it was .88 and .95.
"""

import numpy as np
from numpy.typing import NDArray

from model.features import FIRST_ITEM

DIM = 64
GROUPS_PER_ROOT = 4
DIRECTIONS = 12
OWN, EVERYWHERE, BIAS = 0.5, 0.2, 0.3
"""Of a vector, what its group's directions are and what all directions are; of a bias."""
FLATNESS = 0.25
"""Of the centres' spectrum: direction n counts ``n ** -0.25``."""
STRAYING = 0.4
"""Of a state from its item."""
STATE_LENGTH = DIM**0.5
"""As layer normalisation leaves it."""


def made_up_vectors(items: int, *, seed: int = 0) -> NDArray[np.float32]:
    """A table as ``model.state_graph`` makes it, float32 [items + 2, 65]."""
    chance = np.random.default_rng(seed)
    spectrum = _lengths(DIM, FLATNESS, DIM**0.5)
    groups = round(GROUPS_PER_ROOT * items**0.5)
    demand = (1.0 + np.arange(groups)) ** -0.5
    group = np.sort(chance.choice(groups, items, p=demand / demand.sum()))
    centre = (1 - OWN**2 - EVERYWHERE**2) ** 0.5
    centres = centre * chance.standard_normal((groups, DIM), np.float32) * spectrum
    vectors = centres[group]
    vectors += EVERYWHERE * chance.standard_normal((items, DIM), np.float32)
    long = _lengths(DIRECTIONS, 0.5, OWN * DIM**0.5)
    ends = np.cumsum(np.bincount(group, minlength=groups)).tolist()
    for start, end in zip([0, *ends], ends, strict=False):
        ways = chance.standard_normal((DIRECTIONS, DIM), np.float32)
        ways /= np.linalg.norm(ways, axis=1, keepdims=True)
        vectors[start:end] += (
            chance.standard_normal((end - start, DIRECTIONS), np.float32) * long
        ) @ ways
    made = np.zeros((FIRST_ITEM + items, DIM + 1), np.float32)
    made[FIRST_ITEM:, :DIM] = vectors[chance.permutation(items)] / DIM**0.5
    made[FIRST_ITEM:, DIM] = BIAS * chance.standard_normal(items, np.float32)
    return made


def made_up_states(vectors: NDArray[np.float32], count: int, *, seed: int) -> NDArray[np.float32]:
    """States of so many users, float32 [count, 65], the last column 1."""
    chance = np.random.default_rng(seed)
    rows = chance.integers(FIRST_ITEM, len(vectors), count)
    strayed = STRAYING * chance.standard_normal((count, DIM), np.float32) / DIM**0.5
    made = np.ones((count, DIM + 1), np.float32)
    near = vectors[rows, :DIM] + strayed
    made[:, :DIM] = STATE_LENGTH * near / np.linalg.norm(near, axis=1, keepdims=True)
    return made


def _lengths(count: int, flatness: float, whole: float) -> NDArray[np.float32]:
    """Falling lengths of so many directions."""
    lengths = (1.0 + np.arange(count)) ** -flatness
    return (whole * lengths / np.linalg.norm(lengths)).astype(np.float32)
