"""Why each item stands in its list: a sentence, and what it points at. Pure.

The first of an item's sources gives the reason. Whatever needs the catalogue or the co-visits is
looked up for all items of a micro-batch at once, and only for those that are shown.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.features import Histories
from model.items import Item
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
_FIRST_BIT = np.array(
    [SOURCE_BIT[sources[0]] if sources else 0 for sources in SOURCES_OF_BITS], np.uint8
)

BOUGHT_BEFORE: Reason = ("you have bought this before", None)
FOR_NEWCOMERS: Reason = ("suggested to newcomers", None)
OFTEN_TOGETHER: Reason = ("often together with your earlier choices", None)
POPULAR_NOW: Reason = ("popular now", None)
NEW_HERE: Reason = ("new here", None)
PINNED: Reason = ("picked by the shop", None)
SPONSORED: Reason = ("sponsored", None)


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
    sponsored: NDArray[np.bool_] | None = None
    """Of those that a rule has placed, which are paid for; None for none."""


def reasons_of(
    shown: Shown, requests: RequestTable, candidates: CandidateTable, catalog: Catalog
) -> list[Reason]:
    """The reason of each item."""
    items = catalog.items

    def fits(row: int) -> Reason:
        return _pointing_at("fits what you chose last:", items[row]) if row >= 0 else FOR_NEWCOMERS

    def together(row: int) -> Reason:
        return _pointing_at("often together with", items[row]) if row >= 0 else OFTEN_TOGETHER

    def popular(row: int) -> Reason:
        category = items[row].category
        return (f"popular in {category[-1]}", category[-1]) if category else POPULAR_NOW

    def matches(number: int) -> Reason:
        query = requests[number].query
        return f"matches your search “{query}”", query

    def chosen(number: int) -> Reason:
        query = requests[number].query
        return f"others chose this after searching “{query}”", query

    paid = (
        np.zeros_like(shown.owner) if shown.sponsored is None else shown.sponsored.astype(np.int64)
    )
    told: tuple[tuple[Source, Callable[[int], Reason], NDArray[np.int64]], ...] = (
        ("nearest", fits, newest_known(requests.histories, catalog)[shown.owner]),
        ("together", together, _strongest_seeds(shown, candidates, catalog)),
        ("popular", popular, shown.rows),
        ("search", matches, shown.owner),
        ("chosen", chosen, shown.owner),
        ("new", lambda _: NEW_HERE, np.zeros_like(shown.owner)),
        ("rule", lambda paid: SPONSORED if paid else PINNED, paid),
    )
    first = _FIRST_BIT[shown.sources]
    # Few reasons differ: each is made once, and then taken by its number.
    distinct = [BOUGHT_BEFORE]
    numbers = np.zeros(len(first), np.int64)
    for source, reason, about in told:
        here = np.flatnonzero(first == SOURCE_BIT[source])
        different, which = np.unique(about[here], return_inverse=True)
        numbers[here] = len(distinct) + which
        distinct += map(reason, different.tolist())
    return list(map(distinct.__getitem__, numbers.tolist()))


def _pointing_at(opening: str, item: Item) -> Reason:
    return f"{opening} {item.title or item.item_id}", item.item_id


def newest_known(histories: Histories, catalog: Catalog) -> NDArray[np.int64]:
    """The row of each user's newest item that the catalogue has, int64 [B]; -1 for none."""
    rows = np.full(len(histories), -1, np.int64)
    someone = np.flatnonzero(np.diff(histories.starts))
    rows[someone] = catalog.rows_of_hashes(histories.items[histories.starts[someone + 1] - 1])
    for user in someone[rows[someone] < 0].tolist():
        found = catalog.rows_of_hashes(histories[user].items)
        rows[user] = max(found[found >= 0][-1:], default=-1)
    return rows


def _strongest_seeds(
    shown: Shown, candidates: CandidateTable, catalog: Catalog
) -> NDArray[np.int64]:
    """Of each item that stands there for being seen together with the user's: the row of that one
    of the user's items with which it is seen most. Int64 [N]; -1 where there is none."""
    strongest = np.full(len(shown.places), -1, np.int64)
    asked = np.flatnonzero(_FIRST_BIT[shown.sources] == SOURCE_BIT["together"])
    number_of = np.full(len(candidates.owner), -1, np.int64)
    number_of[shown.places[asked]] = asked
    number = number_of[candidates.tie_places]
    here = np.flatnonzero(number >= 0)
    rows = catalog.rows_of_hashes(candidates.ties.seeds[here])
    here, rows = here[rows >= 0], rows[rows >= 0]
    # The strongest of each comes last, and of equals the newest item of the user's.
    order = np.lexsort((-here, candidates.ties.weights[here], number[here]))
    strongest[number[here[order]]] = rows[order]
    return strongest
