"""What a log says of each item by itself: how often it occurs, how new it is, where it is heading.

Shared by every method that looks at candidates one by one.
"""

import numpy as np
from numpy.typing import NDArray

from model.sequences import Sequences

RECENT_SHARES = (0.01, 0.03, 0.1, 0.3)
"""Of the events, the newest: some hours to some weeks of a log of a few months."""


def item_facts(train: Sequences, *, in_order: bool) -> dict[str, NDArray[np.float32]]:
    """Name to float32 [items].

    Args:
        train: what is known.
        in_order: whether the sequences follow each other in time, as sessions do; else, and where
            they have no times, nothing is said of how new an item is.
    """
    counts = train.counts()
    facts = {"count": np.log1p(counts)}
    order = _newest_last(train, in_order)
    if order is not None:
        items, total = train.items[order], max(len(order), 1)
        first = np.full(train.item_count, total)
        np.minimum.at(first, items, np.arange(total))
        facts["first"] = first / total
        for share in RECENT_SHARES:
            newest = items[int(total * (1 - share)) :]
            recent = np.log1p(np.bincount(newest, minlength=train.item_count))
            facts[f"count_of_newest_{share:g}"] = recent
            facts[f"trend_of_newest_{share:g}"] = recent - np.log1p(counts * share)
    return {name: values.astype(np.float32) for name, values in facts.items()}


def _newest_last(train: Sequences, in_order: bool) -> NDArray[np.int64] | None:
    """The order of all events; None where it is not known."""
    if train.times is not None:
        return np.argsort(train.times, kind="stable")
    return np.arange(len(train.items)) if in_order else None
