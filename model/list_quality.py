"""What lists are like beside being right: coverage, evenness, novelty, diversity, the tail.

Lists are int64 [B, K] of item positions, best first, ``NOTHING`` where a list is shorter. The
order of the lists means nothing to any of these figures.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

NOTHING = -1
HEAD_SHARE = 0.2
"""The most popular fifth of the items is the head, the others are the tail."""
MOST_USERS = 20_000
"""Of whom co-occurrence is taken: a bit for each user and item, 2.5 KB an item."""
PAIRS_AT_ONCE = 4096

Distance = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]
"""Of items ``left`` int64 [P] from ``right`` int64 [P]: float64 [P] in [0, 1]."""


def exposures(lists: NDArray[np.int64], item_count: int) -> NDArray[np.int64]:
    """int64 [item_count]: in how many lists each item stands."""
    return np.bincount(lists[lists != NOTHING], minlength=item_count)


def coverage(shown: NDArray[np.int64]) -> float:
    """Share of the catalogue that at least one list shows; from ``exposures``."""
    return float((shown > 0).mean())


def gini(shown: NDArray[np.int64]) -> float:
    """How unevenly the lists' places fall on the items: 0 for evenly, near 1 for on one item.

    With exposures x ascending and n items: sum((2 i - n - 1) x_i) / (n sum(x)).
    """
    total = int(shown.sum())
    if not total:
        return 0.0
    count = len(shown)
    place = 2 * np.arange(1, count + 1) - count - 1
    return float((place * np.sort(shown)).sum() / (count * total))


def self_information(popularity: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64 [items], bits: -log2 of an item's share of all events, each counted once more.

    The one more keeps an item without an event finite. After Vargas and Castells, "Rank and
    Relevance in Novelty and Diversity Metrics", 2011.
    """
    counts = popularity + 1.0
    information: NDArray[np.float64] = -np.log2(counts / counts.sum())
    return information


def novelty(shown: NDArray[np.int64], popularity: NDArray[np.int64]) -> float:
    """Mean self-information of a place of a list, in bits; from ``exposures``."""
    total = int(shown.sum())
    return float(shown @ self_information(popularity)) / total if total else 0.0


def head_items(popularity: NDArray[np.int64]) -> NDArray[np.bool_]:
    """bool [items]: the fifth with the most events; of equal ones, the earlier positions."""
    head = np.zeros(len(popularity), bool)
    head[np.argsort(-popularity, kind="stable")[: round(HEAD_SHARE * len(popularity))]] = True
    return head


def tail_share(shown: NDArray[np.int64], popularity: NDArray[np.int64]) -> float:
    """Share of the lists' places that go to items outside the head; from ``exposures``."""
    total = int(shown.sum())
    return float(shown[~head_items(popularity)].sum()) / total if total else 0.0


def diversity(lists: NDArray[np.int64], distance: Distance) -> float:
    """Mean distance of two items of one list, then the mean over lists of at least two.

    After Ziegler et al., "Improving Recommendation Lists Through Topic Diversification", 2005.
    """
    left, right = np.triu_indices(lists.shape[1], 1)
    firsts, seconds = lists[:, left].ravel(), lists[:, right].ravel()
    both = (firsts != NOTHING) & (seconds != NOTHING)
    if not both.any():
        return 0.0
    owners = np.repeat(np.arange(len(lists)), len(left))[both]
    # A popular pair stands in many lists: each distinct one is measured once.
    size = int(lists.max()) + 1
    low, high = np.minimum(firsts, seconds)[both], np.maximum(firsts, seconds)[both]
    pairs, place = np.unique(low * size + high, return_inverse=True)
    apart = distance(pairs // size, pairs % size)[place]
    sums, counts = np.bincount(owners, apart), np.bincount(owners)
    return float((sums[counts > 0] / counts[counts > 0]).mean())


def by_category(categories: NDArray[np.int64]) -> Distance:
    """0 for items of one category, else 1; a negative category is unknown and like no other."""

    def distance(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
        same = (categories[left] == categories[right]) & (categories[left] >= 0)
        return np.where(same, 0.0, 1.0)

    return distance


def by_users(users: NDArray[np.int32], items: NDArray[np.int32], *, seed: int) -> Distance:
    """1 - the cosine of the sets of users that two items have: |both| / sqrt(|left| |right|).

    An item without a user is at distance 1 from all. Of more than ``MOST_USERS`` users a sample
    is taken.

    Args:
        users, items: int [N], one entry for each event.
        seed: of the sample.
    """
    known = np.unique(users)
    if len(known) > MOST_USERS:
        known = np.sort(np.random.default_rng(seed).choice(known, MOST_USERS, replace=False))
    kept = np.isin(users, known)
    numbers, had = np.searchsorted(known, users[kept]), items[kept]

    def distance(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
        named, places = np.unique(np.concatenate([left, right]), return_inverse=True)
        here = np.isin(had, named)
        bits = np.zeros((len(named), (len(known) + 63) // 64), np.uint64)
        np.bitwise_or.at(
            bits,
            (np.searchsorted(named, had[here]), numbers[here] // 64),
            np.left_shift(np.uint64(1), (numbers[here] % 64).astype(np.uint64)),
        )
        sizes = np.bitwise_count(bits).sum(axis=1, dtype=np.int64)
        lefts, rights = np.split(places, 2)
        both = np.empty(len(left), np.int64)
        for start in range(0, len(left), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            both[part] = np.bitwise_count(bits[lefts[part]] & bits[rights[part]]).sum(
                axis=1, dtype=np.int64
            )
        scale = np.sqrt(sizes[lefts] * sizes[rights].astype(np.float64))
        apart: NDArray[np.float64] = 1 - both / np.maximum(scale, 1.0)
        return apart.clip(0.0, 1.0)

    return distance
