"""From scored candidates to the final list: rules, order and reasons. Pure.

A query comes first: items that cover more of it stand higher, in steps of a tenth, and the blend
decides among equals. Without a query the blend decides alone.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from model.blend import BlendWeights, blend
from model.key_places import Keys
from model.pool_table import JoinedPools, best_of_lists, may_return, with_nearest_of_lists
from model.signals import signals_of
from serving.candidates import CandidateTable
from serving.catalog import Catalog
from serving.contributions import DIGITS, Shown
from serving.list_items import list_items
from serving.list_request import RequestTable
from serving.reasons import TELLING, Telling
from serving.recommendation import Recommended


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
    telling: Telling = TELLING,
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
        telling: what the lists tell of themselves.
    """
    joined = with_nearest_of_lists(
        candidates, candidate_scores, nearest_rows, nearest_scores, nearest_popular, catalog.usable
    )
    pool, owner = joined.pool, joined.owner
    scores = blend(weights, signals_of(pool, joined.network, catalog.model_rows[pool.rows]))
    scores[~_may_return(requests, joined, catalog, repeats_allowed)] = -np.inf
    places, ends = best_of_lists(
        owner, pool.match, scores, pool.rows, lists=len(requests), length=length
    )
    shown = Shown(owner[places], places, pool.rows[places], pool.sources[places])
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
