"""How what came of lists is named in the shared counts: sets and their members, as numbers.

A shard has a set of what was shown and one of what was clicked, with a member for each item and
position, and for each bundle a set of all kinds of responses, by the sources of the item and its
position. They are kept apart and not added up, for what a position is worth is known only later.
"""

from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.covisits import PLACE_MARK, QUERY_MARK

ITEM_KINDS = (0, 1)
"""Of ``serving.feedback.KINDS``: impressions and clicks, which exploration goes by."""
_ITEM_SETS = ("shown", "clicked")
_SHARD_BITS = 48
_HASH_MASK = (1 << 48) - 1
FIRST_SET = np.uint64(QUERY_MARK | PLACE_MARK)
"""All sets from this number on, and no others, tell what came of lists."""
MOST_POSITION = 1_000
"""As many items an impression has at most."""


def item_sets(kind: int, shards: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The set of these shards that has the impressions (0) or the clicks (1) of items."""
    return _sets(shards, kind)


def response_sets(bundle: str, shards: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The set of these shards that has the responses to the lists of a bundle."""
    digest = int.from_bytes(blake2b(bundle.encode(), digest_size=5).digest(), "big")
    return _sets(shards, len(_ITEM_SETS) + digest)


def set_name(number: int) -> str:
    """How the key of a set ends, by the 48 bits of its number that are no shard."""
    if number < len(_ITEM_SETS):
        return _ITEM_SETS[number]
    return f"response:{number - len(_ITEM_SETS):010x}"


def _sets(shards: NDArray[np.int64], number: int) -> NDArray[np.uint64]:
    marked = np.uint64(QUERY_MARK | PLACE_MARK | number)
    return (shards.astype(np.uint64) << np.uint64(_SHARD_BITS)) | marked


def item_members(items: NDArray[np.uint64], positions: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Members of the sets of items; hashes have 48 bits."""
    return (np.minimum(positions, MOST_POSITION).astype(np.uint64) << np.uint64(48)) | items


def response_members(
    kind: int, sources: NDArray[np.uint8], positions: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Members of the sets of responses."""
    at = np.minimum(positions, MOST_POSITION).astype(np.uint64)
    marks = sources.astype(np.uint64) << np.uint64(48)
    return np.uint64(kind << 56) | marks | (at << np.uint64(32))


class ItemCells(NamedTuple):
    """Counts of items at positions: three arrays [N]."""

    items: NDArray[np.uint64]
    """Hashes."""
    positions: NDArray[np.int64]
    weights: NDArray[np.float64]


class ResponseCells(NamedTuple):
    """Counts of responses to items of some sources at some position: four arrays [N]."""

    kinds: NDArray[np.int64]
    sources: NDArray[np.int64]
    positions: NDArray[np.int64]
    weights: NDArray[np.float64]


def item_cells(members: NDArray[np.uint64], weights: NDArray[np.float64]) -> ItemCells:
    """What members of the sets of items say."""
    positions = (members >> np.uint64(48)).astype(np.int64)
    return ItemCells(members & np.uint64(_HASH_MASK), positions, weights)


def response_cells(members: NDArray[np.uint64], weights: NDArray[np.float64]) -> ResponseCells:
    """What members of the sets of responses say."""
    kinds, sources = members >> np.uint64(56), (members >> np.uint64(48)) & np.uint64(0xFF)
    positions = (members >> np.uint64(32)) & np.uint64(0xFFFF)
    return ResponseCells(
        kinds.astype(np.int64), sources.astype(np.int64), positions.astype(np.int64), weights
    )
