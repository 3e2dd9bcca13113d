"""What items of lists owe to single items of their users' profiles, found out by removing these.

The profile without every event of an item is a profile like any other: candidates, network and
blend are asked once more, and what a listed item's score has lost is the amount. That is one user
more in a run of the network for each item removed, which is why it must be asked for.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.blend import Signals, blend
from model.features import PADDING
from model.ids import ITEM_HASH_BYTES
from model.key_places import Keys, places_of
from model.pool_table import with_nearest_of_lists
from model.signals import seeds_of, signals_of
from serving.contributions import MOST_NAMED, Owed, contributions
from serving.list_request import RequestTable
from serving.parts import Parts
from serving.profile import IDENTITY_BYTES, INTERACTIONS, PURCHASES, Profile
from serving.reasons import in_columns
from serving.recommendation import Contribution, Recommended
from serving.why import FitsHistory, FitsLast, FitsProfile, Why

REMOVED = 8
"""Newest distinct items of a user's that are removed, one by one, for a list of the stream."""
AT_ONCE = 256
"""Profiles in one run of the network, as in a micro-batch."""


class Removals(NamedTuple):
    """Which items are taken out of whose profiles: two arrays [R]."""

    owner: NDArray[np.int64]
    """Number of the list."""
    items: NDArray[np.uint64]
    """Hashes."""


class Listed(NamedTuple):
    """What is known of the items of L lists under some profile."""

    signals: Signals
    """Arrays [L, K]; where a list has fewer items, of no meaning."""
    match: NDArray[np.float32]


def newest_items(requests: RequestTable, most: int = REMOVED) -> Removals:
    """The newest distinct items that each user dealt with, at most ``model.signals.SEEDS``."""
    items, starts = seeds_of(requests.histories)
    owner = np.repeat(np.arange(len(requests)), np.diff(starts))
    kept = np.arange(len(items)) - starts[owner] < most
    return Removals(owner[kept], items[kept])


def every_item(requests: RequestTable) -> Removals:
    """All items of each profile: those that the user dealt with, and those that he bought."""
    owner = np.concatenate([requests.histories.owner, requests.purchases.owner])
    items = np.concatenate([requests.histories.items, requests.purchases.items])
    distinct = np.unique(np.stack([owner.astype(np.uint64), items]), axis=1)
    return Removals(distinct[0].astype(np.int64), distinct[1])


def without(profile: Profile, item: int) -> Profile:
    """The profile without all events of an item, given as its hash."""
    return profile._replace(
        interactions=_without(profile.interactions, INTERACTIONS.width, IDENTITY_BYTES, item),
        purchases=_without(profile.purchases, PURCHASES.width, 2, item),
    )


def _without(packed: bytes, width: int, first: int, item: int) -> bytes:
    """The records whose item, from byte ``first`` on, is another one."""
    records = np.frombuffer(packed, np.uint8).reshape(-1, width)
    wanted = np.frombuffer(item.to_bytes(ITEM_HASH_BYTES, "big"), np.uint8)
    other = (records[:, first : first + ITEM_HASH_BYTES] != wanted).any(axis=1)
    return packed if other.all() else records[other].tobytes()


async def losses(
    parts: Parts, requests: RequestTable, listed: NDArray[np.int64], removals: Removals
) -> NDArray[np.float32]:
    """What the score of each item of a list loses without each of the items removed.

    Args:
        parts: what to work with.
        requests: of L lists.
        listed: catalogue rows of their items, int64 [L, K]; -1 behind them.
        removals: R of them.

    Returns:
        float32 [R, K]; 0 where a list has fewer items. Less than 0: the item speaks against it.

    Raises:
        redis.RedisError: the shared counts cannot be read.
        serving.ranker.RankerError: the network could not do its part.
    """
    weights = parts.bundle.manifest.blend
    changed = [
        requests[owner]._replace(profile=without(requests[owner].profile, item))
        for owner, item in zip(removals.owner.tolist(), removals.items.tolist(), strict=True)
    ]
    asked = [*requests, *changed]
    rows = np.concatenate([listed, listed[removals.owner]])
    scores = np.concatenate(
        [
            blend(weights, (await look_at(parts, RequestTable(asked[here]), rows[here])).signals)
            for here in (slice(at, at + AT_ONCE) for at in range(0, len(asked), AT_ONCE))
        ]
    )
    lost: NDArray[np.float32] = scores[removals.owner] - scores[len(requests) :]
    return np.where(listed[removals.owner] >= 0, lost, np.float32(0))


async def look_at(parts: Parts, requests: RequestTable, listed: NDArray[np.int64]) -> Listed:
    """What is known of these items for these profiles, whether sources propose them or not.

    Args and errors are those of ``losses``.
    """
    catalog, size = parts.catalog, listed.shape[1]
    candidates = await parts.candidates.gather(requests)
    is_candidate = candidates.cells
    padded = np.full((len(requests), size + is_candidate.shape[1]), PADDING, np.int64)
    padded[:, :size] = np.where(listed >= 0, catalog.model_rows[listed], PADDING)
    padded[:, size:][is_candidate] = catalog.model_rows[candidates.pool.rows]
    features = parts.ranker.features_of(requests)
    bias, edition = catalog.item_bias, catalog.bias_edition
    found = await parts.ranker.beside(
        lambda: parts.ranker.score(features, padded, bias, edition), len(padded)
    )
    own, scores = found.candidate_scores[:, :size], found.candidate_scores[:, size:][is_candidate]
    if (vectors := parts.new_item_vectors) is not None:
        scores = vectors.rescored(scores, found, candidates.owner, candidates.pool.rows)
        own = vectors.scores_of(listed, own, found)
    joined = with_nearest_of_lists(
        candidates,
        scores,
        listed,
        own,
        parts.candidates.nearest_popularity(candidates, listed),
        lambda rows: rows >= 0,
    )
    wanted = Keys(np.repeat(np.arange(len(requests)), size), np.maximum(listed, 0).ravel())
    places = places_of(wanted, Keys(joined.owner, joined.pool.rows), len(requests))
    places = np.where(listed >= 0, places.reshape(listed.shape), -1)
    known = signals_of(joined.pool, joined.network, catalog.model_rows[joined.pool.rows])
    return Listed(
        Signals(**{name: _at(getattr(known, name), places) for name in known.__struct_fields__}),
        _at(joined.pool.match, places),
    )


def _at(column: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any]:
    """The values at these places; 0 at place -1."""
    return np.append(column, column.dtype.type(0))[places]


def rows_listed(parts: Parts, lists: Sequence[tuple[Recommended, ...]]) -> NDArray[np.int64]:
    """The catalogue rows of the items of L lists, int64 [L, K]; -1 behind them, and for what was
    removed in the meantime."""
    rows = np.full((len(lists), max(map(len, lists), default=0)), -1, np.int64)
    for number, items in enumerate(lists):
        rows[number, : len(items)] = [parts.catalog.row_of(each.item_id) for each in items]
    return rows


def owed_to(parts: Parts, removals: Removals, lost: NDArray[np.float32]) -> Owed:
    """What was lost, by shown item: item ``k`` of ``K`` of the list ``l`` is number ``lK + k``.

    Args:
        parts: for the catalogue.
        removals: R of them.
        lost: float32 [R, K], as of ``losses``.
    """
    size = lost.shape[1]
    return Owed(
        (removals.owner[:, None] * size + np.arange(size)).ravel(),
        np.repeat(parts.catalog.rows_of_hashes(removals.items), size),
        lost.ravel().astype(np.float64),
    )


async def with_losses(
    parts: Parts, requests: RequestTable, lists: list[tuple[Recommended, ...]]
) -> list[tuple[Recommended, ...]]:
    """The same lists, whose items tell what their scores lose without the user's newest items.

    Of older items they go on telling what counts and purchases know. Raises as ``losses`` does.
    """
    listed, removals = rows_listed(parts, lists), newest_items(requests)
    if not len(removals.items) or not listed.size:
        return lists
    lost = await losses(parts, requests, listed, removals)
    found = contributions(owed_to(parts, removals, lost), listed.size, parts.catalog)
    rows = parts.catalog.rows_of_hashes(removals.items)
    removed: list[set[str]] = [set() for _ in lists]
    for owner, row in zip(removals.owner.tolist(), rows.tolist(), strict=True):
        if row >= 0:
            removed[owner].add(parts.catalog.items[row].item_id)
    size = listed.shape[1]
    return [
        tuple(
            _with_contributions(parts, each, found[number * size + at], removed[number])
            for at, each in enumerate(items)
        )
        for number, items in enumerate(lists)
    ]


def _with_contributions(
    parts: Parts, item: Recommended, found: tuple[Contribution, ...], removed: set[str]
) -> Recommended:
    """The same item with what was found; where the network proposed it, the first is the reason."""
    older = [each for each in item.contributions if each.item_id not in removed]
    if older:
        every = sorted([*found, *older], key=lambda each: each.amount, reverse=True)
        found = tuple(every[:MOST_NAMED])
    if not isinstance(item.why, FitsLast):
        return msgspec.structs.replace(item, contributions=found)
    why: Why = FitsProfile()
    if found:
        known = parts.catalog.get(found[0].item_id)
        why = FitsHistory(found[0].item_id, known.title if known else "")
    told = in_columns([why], np.zeros(1, np.int64), parts.telling.languages)
    return msgspec.structs.replace(
        item,
        contributions=found,
        why=why,
        reason=told.sentences[0],
        because=why.because,
        reasons=told.every[0] if told.every else None,
    )
