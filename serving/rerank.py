"""From scored candidates to the final list: rules, order and reasons. Pure.

A query comes first: items that cover more of it stand higher, in steps of a tenth, and the blend
decides among equals. Without a query the blend decides alone.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from model.blend import BlendWeights, blend
from model.ids import item_hash
from model.pool_table import JoinedPools, best_of_lists, with_nearest_of_lists
from model.signals import may_return, seen_items, signals_of
from serving.candidates import SOURCE_BIT, SOURCES, CandidateTable, ListRequest, Ties
from serving.catalog import Catalog
from serving.recommendation import Recommended

_SOURCES_OF_BITS = [
    tuple(source for source in SOURCES if bits & SOURCE_BIT[source])
    for bits in range(2 * max(SOURCE_BIT.values()))
]


def rerank(
    requests: Sequence[ListRequest],
    candidates: CandidateTable,
    candidate_scores: NDArray[np.float32],
    nearest_rows: NDArray[np.int64],
    nearest_scores: NDArray[np.float32],
    nearest_popular: NDArray[np.float32],
    *,
    catalog: Catalog,
    weights: BlendWeights,
    repeats_allowed: bool,
    length: int,
) -> list[tuple[Recommended, ...]]:
    """The final list of each of L requests.

    Args:
        requests: who and why.
        candidates: of all lists, N together.
        candidate_scores: the network's, float32 [N].
        nearest_rows: catalogue rows of the network's own nearest items, int64 [L, K]; -1 for none.
        nearest_scores: the network's, float32 [L, K].
        nearest_popular: decayed popularity of those, float32 [L, K].
        catalog: for titles, categories and availability.
        weights: of the blend.
        repeats_allowed: whether items that the user already dealt with may return.
        length: of a list, at most.
    """
    joined = with_nearest_of_lists(
        candidates, candidate_scores, nearest_rows, nearest_scores, nearest_popular, catalog.usable
    )
    pool, owner = joined.pool, joined.owner
    scores = blend(weights, signals_of(pool, joined.network, catalog.model_rows[pool.rows]))
    kept = np.flatnonzero(_may_return(requests, joined, catalog, repeats_allowed))
    best, ends = best_of_lists(
        owner[kept], pool.match[kept], scores[kept], pool.rows[kept],
        lists=len(requests), length=length,
    )  # fmt: skip
    chosen = kept[best]
    listed = list(
        zip(
            pool.rows[chosen].tolist(),
            pool.sources[chosen].tolist(),
            np.round(scores[chosen].astype(np.float64), 4).tolist(),
            strict=True,
        )
    )
    bounds = pairwise([0, *ends.tolist()])
    return [
        _explained(request, candidates.ties_of(at), listed[start:end], catalog)
        for at, (request, (start, end)) in enumerate(zip(requests, bounds, strict=True))
    ]


def _may_return(
    requests: Sequence[ListRequest], joined: JoinedPools, catalog: Catalog, repeats_allowed: bool
) -> NDArray[np.bool_]:
    rows, owner = joined.pool.rows, joined.owner
    current = np.array(
        [
            -1 if each.current_item is None else catalog.row_of_hash(item_hash(each.current_item))
            for each in requests
        ],
        np.int64,
    )
    # Asked once more: an item may have been removed while the network was running.
    allowed: NDArray[np.bool_] = catalog.usable(rows) & (rows != current[owner])
    if not repeats_allowed:
        by_list = np.argsort(owner, kind="stable")
        ends = np.cumsum(np.bincount(owner, minlength=len(requests)))
        for each, here in zip(requests, np.split(by_list, ends[:-1]), strict=True):
            seen = catalog.rows_of_hashes(seen_items(each.history, each.purchases))
            allowed[here] &= may_return(rows[here], -1, seen, repeats_allowed)
    return allowed


def _explained(
    request: ListRequest, ties: Ties, listed: Sequence[tuple[int, int, float]], catalog: Catalog
) -> tuple[Recommended, ...]:
    """The list of these rows, source bits and scores."""
    made: list[Recommended] = []
    newest: tuple[str, str | None] | None = None
    for rank, (row, bits, score) in enumerate(listed, start=1):
        item, sources = catalog.items[row], _SOURCES_OF_BITS[bits]
        because: str | None = None
        match sources[0]:
            case "popular":
                because = item.category[-1] if item.category else None
                reason = f"popular in {because}" if because else "popular now"
            case "nearest":
                newest = newest or _fits_newest(request, catalog)
                reason, because = newest
            case "together":
                because = _strongest_seed(ties, row, catalog)
                reason = f"often together with {_title(catalog, because)}"
            case "repeat":
                reason = "you have bought this before"
            case "search":
                because = request.query
                reason = f"matches your search “{request.query}”"
        made.append(Recommended(item.item_id, rank, score, sources, reason, because))
    return tuple(made)


def _fits_newest(request: ListRequest, catalog: Catalog) -> tuple[str, str | None]:
    """Why the network's nearest items are there: a sentence, and the item that it points at."""
    newest = _newest_known(request, catalog)
    if newest is None:
        return "suggested to newcomers", None
    return f"fits what you chose last: {_title(catalog, newest)}", newest


def _strongest_seed(ties: Ties, row: int, catalog: Catalog) -> str | None:
    """The id of the user's item that this one is seen together with most."""
    here = (ties.rows == row).nonzero()[0]
    for at in here[np.argsort(-ties.weights[here])].tolist():
        seed = catalog.row_of_hash(int(ties.seeds[at]))
        if seed >= 0:
            return catalog.items[seed].item_id
    return None


def _newest_known(request: ListRequest, catalog: Catalog) -> str | None:
    items = request.history.items
    for at in range(len(items) - 1, -1, -1):
        row = catalog.row_of_hash(int(items[at]))
        if row >= 0:
            return catalog.items[row].item_id
    return None


def _title(catalog: Catalog, item_id: str | None) -> str:
    item = catalog.get(item_id) if item_id is not None else None
    return (item.title or item.item_id) if item is not None else "your earlier choices"
