"""The items of lists as they are told: id, score, sources, reason, contributions. Pure."""

from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from model.blend import BlendWeights
from serving.candidates import CandidateTable
from serving.catalog import Catalog
from serving.contributions import Shown, contributions, owed_by_counts, ties_of_shown
from serving.list_request import RequestTable
from serving.reasons import NAMES_OF_BITS, Telling, reasons_of
from serving.recommendation import Contribution, Recommended


def list_items(
    shown: Shown,
    ranks: NDArray[np.int64],
    scores: NDArray[np.float64],
    requests: RequestTable,
    candidates: CandidateTable,
    *,
    catalog: Catalog,
    weights: BlendWeights,
    telling: Telling,
) -> list[Recommended]:
    """The N items of all lists.

    Args:
        shown: which they are.
        ranks: in its list, of each.
        scores: of each.
        requests: of the lists.
        candidates: what the items were chosen from.
        catalog: for ids, titles and categories.
        weights: of the blend.
        telling: languages, and which contributions.
    """
    ties = ties_of_shown(shown, candidates, catalog)
    reasons = reasons_of(shown, ties, requests, catalog, telling.languages, candidates.in_countries)
    items = catalog.items
    made_of_counts: list[tuple[Contribution, ...]] = []
    if telling.explain != "off":
        owed = owed_by_counts(shown, ties, candidates, weights)
        made_of_counts = contributions(owed, len(shown.rows), catalog)
    return list(
        map(
            Recommended,
            [items[row].item_id for row in shown.rows.tolist()],
            ranks.tolist(),
            scores.tolist(),
            NAMES_OF_BITS[shown.sources].tolist(),
            reasons.sentences,
            reasons.because,
            reasons.why,
            made_of_counts or repeat(()),
            *([reasons.every] if reasons.every else ()),
        )
    )
