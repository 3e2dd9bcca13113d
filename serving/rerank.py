"""From scored candidates to the final list: rules, order and reasons. Pure.

A query comes first: items that cover more of it stand higher, in steps of a tenth, and the blend
decides among equals. Without a query the blend decides alone. What the shop declares about its
lists (``serving.policy``) comes before either.
"""

from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.blend import BlendWeights, blend
from model.key_places import Keys
from model.pool_table import (
    JoinedPools,
    best_of_lists,
    may_return,
    relevance,
    with_nearest_of_lists,
)
from model.signals import Origin, signals_of
from serving.candidates import CandidateTable
from serving.catalog import Catalog
from serving.contributions import DIGITS, Shown
from serving.list_items import list_items
from serving.list_request import RequestTable
from serving.narrowed import Narrowed
from serving.placements import NOT_PLACED, PINNED, SPONSORED
from serving.policy import Composed, Policy
from serving.reasons import TELLING, Telling
from serving.recommendation import Placed, Recommended

PLACED: dict[int, Placed] = {PINNED: "pinned", SPONSORED: "sponsored"}


def rerank(
    requests: RequestTable,
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
    policy: Policy | None = None,
    telling: Telling = TELLING,
    narrowed: Narrowed | None = None,
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
        policy: what the shop declares about its lists, if it does.
        telling: what the lists tell of themselves.
        narrowed: what each list may hold, of which what is offered is among the nearest; None:
            anything.
    """
    if policy is not None:
        policy.catch_up()
    joined = with_nearest_of_lists(
        candidates, candidate_scores, nearest_rows, nearest_scores, nearest_popular, catalog.usable
    )
    own = len(joined.owner)
    if policy is not None:
        joined = policy.with_offered(joined, requests)
    pool, owner = joined.pool, joined.owner
    scores = blend(weights, signals_of(pool, joined.network, catalog.model_rows[pool.rows]))
    allowed = _may_return(requests, joined, catalog, repeats_allowed)
    reserved = candidates.explored
    if narrowed is not None:
        allowed = narrowed.allowed(allowed, owner, pool.rows)
        reserved = narrowed.reserved(reserved, owner)
    if policy is not None and policy.has_say:
        offered = len(owner) - own
        composed = policy.compose(
            requests, joined, offered, scores, allowed,
            length=length, reserved=reserved,
        )  # fmt: skip
    else:
        scores[~allowed] = -np.inf
        best = best_of_lists(
            owner, relevance(pool), scores, pool.rows, lists=len(requests), length=length,
            reserved=reserved,
        )  # fmt: skip
        composed = Composed(best, scores)
    (places, ends), scores = composed.chosen, composed.scores
    shown = Shown(owner[places], places, pool.rows[places], pool.sources[places])
    placed = None if composed.placed is None else composed.placed[places]
    if placed is not None:
        sources = shown.sources | np.where(placed == NOT_PLACED, 0, Origin.RULE).astype(np.uint8)
        shown = shown._replace(sources=sources, sponsored=placed == SPONSORED)
    starts = np.append(0, ends)
    made = list_items(
        shown,
        np.arange(1, len(places) + 1) - starts[shown.owner],
        scores[places].astype(np.float64).round(DIGITS),
        requests,
        candidates,
        catalog=catalog,
        weights=weights,
        telling=telling,
    )
    if placed is not None:
        for at in np.flatnonzero(placed != NOT_PLACED).tolist():
            made[at] = msgspec.structs.replace(made[at], placed=PLACED[placed[at]])
    return [tuple(made[start:end]) for start, end in pairwise(starts.tolist())]


def _may_return(
    requests: RequestTable, joined: JoinedPools, catalog: Catalog, repeats_allowed: bool
) -> NDArray[np.bool_]:
    rows = joined.pool.rows
    current = np.array([catalog.row_of(each.current_item) for each in requests], np.int64)
    seen: list[Keys] = []
    if not repeats_allowed:
        histories, bought = requests.histories, requests.purchases
        seen = [
            Keys(histories.owner, catalog.rows_of_hashes(histories.items)),
            Keys(bought.owner, catalog.rows_of_hashes(bought.items)),
        ]
    # Asked once more: an item may have been removed while the network was running.
    return catalog.usable(rows) & may_return(Keys(joined.owner, rows), current, seen)
