"""From scored candidates to the final list: rules, order and reasons. Pure.

A query comes first: items that cover more of it stand higher, in steps of a tenth, and the blend
decides among equals. Without a query the blend decides alone.
"""

import numpy as np
from numpy.typing import NDArray

from model.blend import BlendWeights, Signals, blend
from model.ids import item_hash
from serving.candidates import SOURCE_BIT, SOURCES, Candidates, ListRequest
from serving.catalog import Catalog
from serving.recommendation import Recommended


def rerank(
    request: ListRequest,
    candidates: Candidates,
    candidate_scores: NDArray[np.float32],
    nearest_rows: NDArray[np.int64],
    nearest_scores: NDArray[np.float32],
    nearest_popular: NDArray[np.float32],
    *,
    catalog: Catalog,
    weights: BlendWeights,
    repeats_allowed: bool,
    length: int,
) -> tuple[Recommended, ...]:
    """The final list of one request.

    Args:
        request: who and why.
        candidates: N of them.
        candidate_scores: the network's, float32 [N].
        nearest_rows: catalogue rows of the network's own nearest items, int64 [K]; -1 for none.
        nearest_scores: the network's, float32 [K].
        nearest_popular: decayed popularity of those, float32 [K].
        catalog: for titles, categories and availability.
        weights: of the blend.
        repeats_allowed: whether items that the user already dealt with may return.
        length: of the list, at most.
    """
    pool = _add_nearest(
        candidates, candidate_scores, nearest_rows, nearest_scores, nearest_popular, catalog
    )
    merged, network = pool
    scores = blend(
        weights,
        Signals(
            rows=catalog.model_rows[merged.rows],
            network=network,
            repeat=merged.repeat,
            covisit=merged.together,
            popular=merged.popular,
        ),
    )
    kept = np.flatnonzero(_may_return(request, merged.rows, catalog, repeats_allowed))
    steps = np.round(merged.match[kept] * 10)
    order = kept[np.lexsort((merged.rows[kept], -scores[kept], -steps))][:length]
    return tuple(
        _explain(request, merged, int(at), rank, float(scores[at]), catalog)
        for rank, at in enumerate(order, start=1)
    )


def _add_nearest(
    candidates: Candidates,
    candidate_scores: NDArray[np.float32],
    nearest_rows: NDArray[np.int64],
    nearest_scores: NDArray[np.float32],
    nearest_popular: NDArray[np.float32],
    catalog: Catalog,
) -> tuple[Candidates, NDArray[np.float32]]:
    """Join the network's nearest items; ``candidates.rows`` are sorted."""
    usable = nearest_rows >= 0
    usable[usable] = catalog.allowed[nearest_rows[usable]]
    rows = nearest_rows[usable]
    at = np.searchsorted(candidates.rows, rows)
    known = at < len(candidates.rows)
    known[known] = candidates.rows[at[known]] == rows[known]
    sources = candidates.sources.copy()
    sources[at[known]] |= SOURCE_BIT["nearest"]
    fresh = ~known
    zeros = np.zeros(int(fresh.sum()), dtype=np.float32)
    merged = Candidates(
        rows=np.concatenate([candidates.rows, rows[fresh]]),
        sources=np.concatenate(
            [sources, np.full(len(zeros), SOURCE_BIT["nearest"], dtype=np.uint8)]
        ),
        repeat=np.concatenate([candidates.repeat, zeros]),
        together=np.concatenate([candidates.together, zeros]),
        popular=np.concatenate([candidates.popular, nearest_popular[usable][fresh]]),
        match=np.concatenate([candidates.match, zeros]),
        seeds=candidates.seeds,
    )
    return merged, np.concatenate([candidate_scores, nearest_scores[usable][fresh]])


def _may_return(
    request: ListRequest, rows: NDArray[np.int64], catalog: Catalog, repeats_allowed: bool
) -> NDArray[np.bool_]:
    allowed = np.ones(len(rows), dtype=np.bool_)
    if request.current_item is not None:
        current = np.array([item_hash(request.current_item)], dtype=np.uint64)
        allowed &= rows != catalog.rows_of_hashes(current)[0]
    if not repeats_allowed:
        seen = np.concatenate([request.history.items, request.purchases.items])
        allowed &= ~np.isin(rows, catalog.rows_of_hashes(np.unique(seen)))
    return allowed


def _explain(
    request: ListRequest,
    pool: Candidates,
    at: int,
    rank: int,
    score: float,
    catalog: Catalog,
) -> Recommended:
    row = int(pool.rows[at])
    item = catalog.items[row]
    sources = tuple(source for source in SOURCES if pool.sources[at] & SOURCE_BIT[source])
    because: str | None = None
    match sources[0]:
        case "search":
            because = request.query
            reason = f"matches your search “{request.query}”"
        case "repeat":
            reason = "you have bought this before"
        case "together":
            because = _strongest_seed(pool, item_hash(item.item_id), catalog)
            reason = f"often together with {_title(catalog, because)}"
        case "nearest":
            because = _newest_known(request, catalog)
            reason = f"fits what you chose last: {_title(catalog, because)}"
        case "popular":
            because = item.category[-1] if item.category else None
            reason = f"popular in {because}" if because else "popular now"
    return Recommended(item.item_id, rank, round(score, 4), sources, reason, because)


def _strongest_seed(pool: Candidates, hashed: int, catalog: Catalog) -> str | None:
    """The id of the user's item that this one is seen together with most."""
    best, strength = None, 0.0
    for seed, neighbours in pool.seeds:
        here = neighbours.weights[neighbours.items == np.uint64(hashed)]
        if len(here) and here[0] > strength:
            row = int(catalog.rows_of_hashes(np.array([seed], dtype=np.uint64))[0])
            if row >= 0:
                best, strength = catalog.items[row].item_id, float(here[0])
    return best


def _newest_known(request: ListRequest, catalog: Catalog) -> str | None:
    rows = catalog.rows_of_hashes(request.history.items)
    known = rows[rows >= 0]
    return catalog.items[int(known[-1])].item_id if len(known) else None


def _title(catalog: Catalog, item_id: str | None) -> str:
    item = catalog.get(item_id) if item_id is not None else None
    return (item.title or item.item_id) if item is not None else "your earlier choices"
