"""What stands near an item in the sequences, as content: a bag of the items that it meets.

An item's vector is then its own and a weighted sum over its neighbours', so that what is learned of
one item is learned of those near it as well; after the global graph of GCE-GNN (Wang et al.,
"Global Context Enhanced Graph Neural Networks for Session-based Recommendation", 2020), but summed
once and folded into the item table, so that it costs nothing when lists are made.
"""

import numpy as np

from model.content import ItemContent
from model.neighbours import meetings
from model.sequences import Sequences

REACH = 3
"""Events further apart do not meet; those k apart count 1 / k."""
COMMON_POWER = 0.5
"""Of how often a neighbour meets anything: common ones say less."""
OWN_WEIGHT = 0.5
"""Of the item in its own bag, beside its strongest neighbour: both share vectors."""


def neighbour_content(train: Sequences, count: int) -> ItemContent:
    """A bag for each item: itself and its strongest neighbours, token i being item i.

    Args:
        train: sequences.
        count: neighbours of a bag, at most.
    """
    size = train.item_count
    rows, columns, met = meetings(train, REACH)
    weights = met / np.bincount(rows, met, size)[columns] ** COMMON_POWER
    order = np.lexsort((-weights, rows))
    rows, columns, weights = rows[order], columns[order], weights[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = place < count
    rows, columns, weights = rows[kept], columns[kept], weights[kept]
    strongest = np.ones(size)
    strongest[rows[place[kept] == 0]] = weights[place[kept] == 0]
    every = np.arange(size)
    rows, columns = np.append(rows, every), np.append(columns, every)
    weights = np.append(weights, OWN_WEIGHT * strongest)
    order = np.argsort(rows, kind="stable")
    lengths = np.sqrt(np.bincount(rows, weights * weights, size))
    starts = np.zeros(size + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=size), out=starts[1:])
    return ItemContent(
        columns[order].astype(np.int64),
        (weights / lengths[rows])[order].astype(np.float32),
        starts,
        size,
    )


def joined(first: ItemContent, second: ItemContent) -> ItemContent:
    """Both bags of each item as one.

    Raises:
        ValueError: they are of different catalogues.
    """
    if len(first) != len(second):
        raise ValueError(
            f"content of {len(first)} and of {len(second)} items; read both for the same catalogue"
        )
    sizes = [np.diff(each.starts) for each in (first, second)]
    rows = np.concatenate([np.repeat(np.arange(len(first)), size) for size in sizes])
    order = np.argsort(rows, kind="stable")
    return ItemContent(
        np.concatenate([first.tokens, second.tokens + first.token_count])[order],
        np.concatenate([first.weights, second.weights])[order],
        first.starts + second.starts,
        first.token_count + second.token_count,
    )
