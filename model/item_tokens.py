"""A catalogue item to tokens: words of the title, category path, brand, price; hashed into rows.

The only implementation, for training and serving. What it returns for the same item is part of
``model.features.FEATURE_VERSION``. Hashing (Weinberger et al., "Feature Hashing for Large Scale
Multitask Learning", 2009) gives words that no item had in training a row all the same; such a row
has no weight, so that it says nothing.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from model.content import ItemContent
from model.features import FIRST_ITEM, Vocabulary
from model.ids import item_hashes
from model.items import Item
from model.words import tokens

TOKEN_ROWS = 8_192
"""The first is padding. Few of the some five thousand tokens of a shop meet another in their row.
"""
MOST_TOKENS = 48
"""Of one item: three times those of a long title."""
LEAST_ITEMS = 2
"""A token of a single item says nothing of others."""
PRICE_STEPS = 2
"""Price buckets in a doubling."""


def item_tokens(item: Item) -> tuple[int, ...]:
    """The distinct token rows of an item, ascending, from 1 to ``TOKEN_ROWS`` - 1."""
    return tuple(sorted({1 + crc32(name.encode()) % (TOKEN_ROWS - 1) for name in _names(item)}))


def _names(item: Item) -> Iterator[str]:
    """What is known of an item, the most telling first, at most ``MOST_TOKENS``."""
    names = [f"c:{'/'.join(item.category[: depth + 1])}" for depth in range(len(item.category))]
    if item.brand:
        names.append(f"b:{item.brand}")
    if item.price is not None and item.price > 0 and math.isfinite(item.price):
        names.append(f"p:{math.floor(PRICE_STEPS * math.log2(item.price))}")
    names += [f"w:{word}" for word in dict.fromkeys(tokens(item.title))]
    return iter(names[:MOST_TOKENS])


def token_table(items: Sequence[Item]) -> NDArray[np.int64]:
    """The tokens of N items, int64 [N, W], padded with 0 on the right to the longest one."""
    rows = [item_tokens(item) for item in items]
    cells = np.zeros((len(rows), max(map(len, rows), default=0) or 1), np.int64)
    for number, each in enumerate(rows):
        cells[number, : len(each)] = each
    return cells


def catalogue_content(items: Iterable[Item], vocabulary: Vocabulary) -> ItemContent:
    """What a catalogue knows of the items of a vocabulary, in its order; rarer tokens weigh more.

    Args:
        items: the catalogue; items outside the vocabulary are passed over.
        vocabulary: of the network.

    Raises:
        ValueError: nothing is known of any of them.
    """
    known = list(items)
    rows = vocabulary.index_of(item_hashes([item.item_id for item in known]))
    bags: list[tuple[int, ...]] = [()] * len(vocabulary.ids)
    for item, row in zip(known, rows.tolist(), strict=True):
        if row >= FIRST_ITEM:
            bags[row - FIRST_ITEM] = item_tokens(item)
    starts = np.append(0, np.cumsum([len(bag) for bag in bags]))
    flat = np.fromiter((token for bag in bags for token in bag), np.int64, int(starts[-1]))
    counts = np.bincount(flat, minlength=TOKEN_ROWS)
    weights = token_weights(counts, len(bags))
    kept = weights[flat] > 0
    if not kept.any():
        raise ValueError(
            "the catalogue and the log name no item alike, or no two items have a word in common; "
            "give the catalogue of the log"
        )
    owner = np.repeat(np.arange(len(bags)), np.diff(starts))[kept]
    flat = flat[kept]
    lengths = np.sqrt(np.bincount(owner, weights[flat] ** 2, len(bags)))
    starts = np.append(0, np.cumsum(np.bincount(owner, minlength=len(bags))))
    bag_weights = (weights[flat] / lengths[owner]).astype(np.float32)
    return ItemContent(flat, bag_weights, starts, TOKEN_ROWS, weights.astype(np.float32))


def token_weights(counts: NDArray[np.int64], items: int) -> NDArray[np.float64]:
    """Inverse item frequency of each token, 0 of those that fewer than ``LEAST_ITEMS`` have."""
    told = np.log1p(items / np.maximum(counts, 1))
    return np.where(counts >= LEAST_ITEMS, told, 0.0)
