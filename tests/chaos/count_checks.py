"""Shared counts against the log: popularity, items seen together, items chosen after a search."""

from collections.abc import Iterable, Mapping

import numpy as np

from model.ids import item_hash
from serving.counts import Counts, Neighbours
from tests.chaos.differences import Differences
from tests.chaos.goods import ITEMS, SEARCHED
from tests.chaos.ledger import History
from tests.chaos.oracle import (
    WeightOf,
    Weights,
    expected_choices,
    expected_covisits,
    expected_popularity,
    plain_query,
)

TOLERANCE = 1e-6
"""Of sums of floating point numbers, whatever their order."""


async def check_counts(histories: Mapping[str, History], counts: Counts) -> list[Differences]:
    """Popularity, items seen together, items chosen after a search."""
    names = {item_hash(item.item_id): item.item_id for item in ITEMS}
    items = list(names.values())
    weights: WeightOf = np.vectorize(counts.weight, otypes=[np.float64])
    users = histories.values()
    popular = Differences("popularity")
    _compare(popular, "all", expected_popularity(users, weights), await counts.popular(), names)
    together = Differences("co-visits")
    seen = await counts.neighbours(list(names))
    _compare_sets(together, items, expected_covisits(users, weights), seen, names)
    after = Differences("items after a query")
    texts = sorted({plain_query(query): query for query in SEARCHED}.items())
    chosen = await counts.chosen_after([query for _, query in texts])
    _compare_sets(
        after, [plain for plain, _ in texts], expected_choices(users, weights), chosen, names
    )
    return [popular, together, after]


def _compare_sets(
    result: Differences,
    keys: Iterable[str],
    expected: Weights,
    actual: Iterable[Neighbours],
    names: Mapping[int, str],
) -> None:
    for key, found in zip(keys, actual, strict=True):
        _compare(result, key, expected.get(key, {}), found, names)


def _compare(
    result: Differences,
    name: str,
    expected: Mapping[str, float],
    actual: Neighbours,
    names: Mapping[int, str],
) -> None:
    found = {
        names.get(hashed, str(hashed)): weight
        for hashed, weight in zip(actual.items.tolist(), actual.weights.tolist(), strict=True)
    }
    for item in sorted(expected.keys() | found.keys()):
        result.compared += 1
        due, weight = expected.get(item, 0.0), found.get(item, 0.0)
        if abs(due - weight) > TOLERANCE * max(due, weight):
            ratio = weight / due if due else float("inf")
            result.found(f"{name}, {item}: {ratio:.6f} of what is due")
