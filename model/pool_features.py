"""What a re-ranker looks at: of each item of a pool, what every method says of it in comparison
with the rest of the pool, what the log says of it, and what the history has to do with it."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from model.pools import Shares
from model.sequences import Sequences

LEAST_SHARE = 1e-6
OLDEST = 20
"""Events ago; what is older, or not in the history, counts as this old."""


def pool_features(
    starts: NDArray[np.int64],
    items: NDArray[np.int32],
    shares: Mapping[str, Shares],
    histories: Sequences,
    facts: Mapping[str, NDArray[np.float32]],
) -> dict[str, NDArray[np.float32]]:
    """Feature name to float32 [C]; no feature depends on an item's number.

    Args:
        starts: int64 [B + 1] of B pools of C items, none empty.
        items: int32 [C], ascending in each pool.
        shares: method name to float32 [C].
        histories: B of them.
        facts: of ``model.item_facts``, name to float32 [items].
    """
    rows = np.repeat(np.arange(len(histories)), np.diff(starts))
    found: dict[str, NDArray[np.float32 | np.float64]] = {}
    for name, values in shares.items():
        logarithm = np.log(values + np.float32(LEAST_SHARE))
        best = np.maximum.reduceat(logarithm, starts[:-1])[rows]
        rank = competition_ranks(values, starts).astype(np.float32)
        found[f"{name}.log_share"] = logarithm
        found[f"{name}.behind_best"] = logarithm - best
        found[f"{name}.best"] = best
        found[f"{name}.log_rank"] = np.log1p(rank)
        found[f"{name}.reciprocal_rank"] = 1 / (1 + rank)
    for name, fact in facts.items():
        found[f"item.{name}"] = fact[items]
    found.update(_of_histories(rows, items, histories, facts))
    return {name: values.astype(np.float32, copy=False) for name, values in found.items()}


def competition_ranks(values: Shares, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 [C]: how many items of the same pool have more; equals share a rank."""
    sizes = np.diff(starts)
    rows = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((-values, rows))
    ordered = values[order]
    place = np.arange(len(values)) - np.repeat(starts[:-1], sizes)
    level = np.zeros(len(values), bool)
    level[1:] = (ordered[1:] == ordered[:-1]) & (rows[1:] == rows[:-1])
    ranks = np.empty(len(values), np.int64)
    # Places only grow within a pool, so that the first of its equals is the last that is marked.
    firsts = np.maximum.accumulate(np.where(level, 0, np.arange(len(values))))
    ranks[order] = place[firsts] if len(values) else place
    return ranks


def _of_histories(
    rows: NDArray[np.int64],
    items: NDArray[np.int32],
    histories: Sequences,
    facts: Mapping[str, NDArray[np.float32]],
) -> dict[str, NDArray[np.float32]]:
    """How long the history is, how common its newest item, and when an item was last in it."""
    lengths = histories.lengths
    newest = np.zeros(len(histories), np.float32)
    some = lengths > 0
    newest[some] = facts["count"][histories.items[histories.starts[1:][some] - 1]]
    size = histories.item_count
    keys, places = np.unique(histories.rows * size + histories.items, return_inverse=True)
    ages = np.full(len(keys), OLDEST)
    np.minimum.at(ages, places, histories.ages)
    times = np.bincount(places, minlength=len(keys))
    # One more, so that what is beyond the last key is looked up as well.
    keys, ages, times = np.append(keys, -1), np.append(ages, OLDEST), np.append(times, 0)
    wanted = rows * size + items
    place = np.searchsorted(keys[:-1], wanted)
    there = keys[place] == wanted
    return {
        "history.log_length": np.log1p(lengths)[rows].astype(np.float32),
        "history.count_of_newest": newest[rows],
        "history.age_of_item": np.where(there, ages[place], OLDEST).astype(np.float32),
        "history.holds_item": there.astype(np.float32),
        "history.log_times_of_item": np.log1p(np.where(there, times[place], 0)).astype(np.float32),
    }
