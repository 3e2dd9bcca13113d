"""Why each item stands in its list: a sentence, and what it points at. Pure.

The first of an item's sources gives the reason. Whatever needs the catalogue or the co-visits is
looked up for all items of a micro-batch at once, and only for those that are shown.
"""

from functools import cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.features import Histories
from serving.candidates import SOURCE_BIT, SOURCES, CandidateTable
from serving.catalog import Catalog
from serving.list_request import RequestTable
from serving.recommendation import Source

Reason: TypeAlias = tuple[str, str | None]
"""A sentence for a person, and the item id, category or query that it points at."""

SOURCES_OF_BITS: list[tuple[Source, ...]] = [
    tuple(source for source in SOURCES if bits & SOURCE_BIT[source])
    for bits in range(2 * max(SOURCE_BIT.values()))
]
BOUGHT_BEFORE: Reason = ("you have bought this before", None)
FOR_NEWCOMERS: Reason = ("suggested to newcomers", None)
OFTEN_TOGETHER: Reason = ("often together with your earlier choices", None)
POPULAR_NOW: Reason = ("popular now", None)


class Shown(NamedTuple):
    """The items of all lists, list after list: arrays [N]."""

    owner: NDArray[np.int64]
    """Number of the list."""
    places: NDArray[np.int64]
    """Among the candidates; those that are none, the network's own, lie beyond."""
    rows: NDArray[np.int64]
    """Of the catalogue."""
    sources: NDArray[np.uint8]
    """Bits, at least one each."""


def reasons_of(
    shown: Shown, requests: RequestTable, candidates: CandidateTable, catalog: Catalog
) -> list[Reason]:
    """The reason of each item."""
    items = catalog.items

    @cache
    def pointing_at(opening: str, row: int) -> Reason:
        item = items[row]
        return f"{opening} {item.title or item.item_id}", item.item_id

    @cache
    def popular_in(row: int) -> Reason:
        category = items[row].category
        return (f"popular in {category[-1]}", category[-1]) if category else POPULAR_NOW

    newest = newest_known(requests.histories, catalog).tolist()
    seeds = iter(_strongest_seeds(shown, candidates, catalog))
    found: list[Reason] = []
    for owner, row, bits in zip(
        shown.owner.tolist(), shown.rows.tolist(), shown.sources.tolist(), strict=True
    ):
        match SOURCES_OF_BITS[bits][0]:
            case "nearest":
                chosen = newest[owner]
                found.append(
                    pointing_at("fits what you chose last:", chosen)
                    if chosen >= 0
                    else FOR_NEWCOMERS
                )
            case "popular":
                found.append(popular_in(row))
            case "together":
                seed = next(seeds)
                found.append(
                    pointing_at("often together with", seed) if seed >= 0 else OFTEN_TOGETHER
                )
            case "repeat":
                found.append(BOUGHT_BEFORE)
            case "search":
                query = requests[owner].query
                found.append((f"matches your search “{query}”", query))
    return found


def newest_known(histories: Histories, catalog: Catalog) -> NDArray[np.int64]:
    """The row of each user's newest item that the catalogue has, int64 [B]; -1 for none."""
    rows = np.full(len(histories), -1, np.int64)
    someone = np.flatnonzero(np.diff(histories.starts))
    rows[someone] = catalog.rows_of_hashes(histories.items[histories.starts[someone + 1] - 1])
    for user in someone[rows[someone] < 0].tolist():
        found = catalog.rows_of_hashes(histories[user].items)
        rows[user] = max(found[found >= 0][-1:], default=-1)
    return rows


def _strongest_seeds(shown: Shown, candidates: CandidateTable, catalog: Catalog) -> list[int]:
    """Of each item that stands there for being seen together with the user's: the row of that one
    of the user's items with which it is seen most; -1 where the catalogue has none of them."""
    asked = np.flatnonzero(_IS_TOGETHER[shown.sources])
    strongest = np.full(len(asked), -1, np.int64)
    number_of = np.full(len(candidates.owner), -1, np.int64)
    number_of[shown.places[asked]] = np.arange(len(asked))
    number = number_of[candidates.tie_places]
    here = np.flatnonzero(number >= 0)
    rows = catalog.rows_of_hashes(candidates.ties.seeds[here])
    here, rows = here[rows >= 0], rows[rows >= 0]
    # The strongest of each comes last, and of equals the newest item of the user's.
    order = np.lexsort((-here, candidates.ties.weights[here], number[here]))
    strongest[number[here[order]]] = rows[order]
    return strongest.tolist()


_IS_TOGETHER = np.array([sources[:1] == ("together",) for sources in SOURCES_OF_BITS])
