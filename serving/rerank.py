"""From scored candidates to the final list: rules, order and reasons. Pure.

A query comes first: items that cover more of it stand higher, in steps of a tenth, and the blend
decides among equals. Without a query the blend decides alone.
"""

import numpy as np
from numpy.typing import NDArray

from model.blend import BlendWeights, Signals, blend
from model.ids import item_hash
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
    merged, network = _add_nearest(
        candidates, candidate_scores, nearest_rows, nearest_scores, nearest_popular, catalog
    )
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
    best = kept[_best(merged.match[kept], scores[kept], merged.rows[kept], length)]
    return tuple(
        _explain(request, merged, at, rank, float(scores[at]), catalog)
        for rank, at in enumerate(best.tolist(), start=1)
    )


def _best(
    match: NDArray[np.float32],
    scores: NDArray[np.float32],
    rows: NDArray[np.int64],
    length: int,
) -> NDArray[np.int64]:
    """Places of the ``length`` best: by match in steps of a tenth, then score, then row."""
    steps = np.ceil(match * 10)
    if len(scores) <= length:
        return np.lexsort((rows, -scores, -steps))
    # Sorting what cannot make the list would cost more than all the rest.
    bar = np.partition(scores, -length)[-length]
    hopeful = np.flatnonzero((steps > 0) | (scores >= bar))
    order = np.lexsort((rows[hopeful], -scores[hopeful], -steps[hopeful]))
    return hopeful[order[:length]]


def _add_nearest(
    candidates: Candidates,
    candidate_scores: NDArray[np.float32],
    nearest_rows: NDArray[np.int64],
    nearest_scores: NDArray[np.float32],
    nearest_popular: NDArray[np.float32],
    catalog: Catalog,
) -> tuple[Candidates, NDArray[np.float32]]:
    """Join the network's nearest items; ``candidates.rows`` are sorted."""
    usable = catalog.usable(nearest_rows)
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
        ties=candidates.ties,
    )
    return merged, np.concatenate([candidate_scores, nearest_scores[usable][fresh]])


def _may_return(
    request: ListRequest, rows: NDArray[np.int64], catalog: Catalog, repeats_allowed: bool
) -> NDArray[np.bool_]:
    # Asked once more: an item may have been removed while the network was running.
    allowed = catalog.usable(rows)
    if request.current_item is not None:
        allowed &= rows != catalog.row_of_hash(item_hash(request.current_item))
    if not repeats_allowed:
        seen = np.concatenate([request.history.items, request.purchases.items])
        allowed &= ~np.isin(rows, catalog.rows_of_hashes(seen), kind="table")
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
            because = _strongest_seed(pool.ties, row, catalog)
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
