"""From scored candidates to the final list: rules, order and reasons. Pure.

A query comes first: items that cover more of it stand higher, in steps of a tenth, and the blend
decides among equals. Without a query the blend decides alone.
"""

import numpy as np
from numpy.typing import NDArray

from model.blend import BlendWeights, blend
from model.ids import item_hash
from model.signals import NO_ROWS, Pool, best, may_return, seen_items, signals_of, with_nearest
from serving.candidates import SOURCE_BIT, SOURCES, Candidates, ListRequest, Ties
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
    merged, network = with_nearest(
        candidates, candidate_scores, nearest_rows, nearest_scores, nearest_popular, catalog.usable
    )
    scores = blend(weights, signals_of(merged, network, catalog.model_rows[merged.rows]))
    kept = np.flatnonzero(_may_return(request, merged.rows, catalog, repeats_allowed))
    chosen = kept[best(merged.match[kept], scores[kept], merged.rows[kept], length)]
    return tuple(
        _explain(request, merged, candidates.ties, at, rank, float(scores[at]), catalog)
        for rank, at in enumerate(chosen.tolist(), start=1)
    )


def _may_return(
    request: ListRequest, rows: NDArray[np.int64], catalog: Catalog, repeats_allowed: bool
) -> NDArray[np.bool_]:
    current = -1
    if request.current_item is not None:
        current = catalog.row_of_hash(item_hash(request.current_item))
    seen = NO_ROWS
    if not repeats_allowed:
        seen = catalog.rows_of_hashes(seen_items(request.history, request.purchases))
    # Asked once more: an item may have been removed while the network was running.
    return catalog.usable(rows) & may_return(rows, current, seen, repeats_allowed)


def _explain(
    request: ListRequest,
    pool: Pool,
    ties: Ties,
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
            because = _strongest_seed(ties, row, catalog)
            reason = f"often together with {_title(catalog, because)}"
        case "nearest":
            because = _newest_known(request, catalog)
            reason = (
                f"fits what you chose last: {_title(catalog, because)}"
                if because
                else "suggested to newcomers"
            )
        case "popular":
            because = item.category[-1] if item.category else None
            reason = f"popular in {because}" if because else "popular now"
    return Recommended(item.item_id, rank, round(score, 4), sources, reason, because)


def _strongest_seed(ties: Ties, row: int, catalog: Catalog) -> str | None:
    """The id of the user's item that this one is seen together with most."""
    here = (ties.rows == row).nonzero()[0]
    for at in here[np.argsort(-ties.weights[here])].tolist():
        seed = catalog.row_of_hash(int(ties.seeds[at]))
        if seed >= 0:
            return catalog.items[seed].item_id
    return None


def _newest_known(request: ListRequest, catalog: Catalog) -> str | None:
    for hashed in request.history.items[::-1].tolist():
        row = catalog.row_of_hash(hashed)
        if row >= 0:
            return catalog.items[row].item_id
    return None


def _title(catalog: Catalog, item_id: str | None) -> str:
    item = catalog.get(item_id) if item_id is not None else None
    return (item.title or item.item_id) if item is not None else "your earlier choices"
