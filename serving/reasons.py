"""Why each item stands in its list: a code with arguments, and sentences. Pure.

The first of an item's sources gives the reason. Whatever needs the catalogue or the co-visits is
looked up for all items of a micro-batch at once, and only for those that are shown.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.features import Histories
from model.items import Item
from serving.candidates import SOURCE_BIT, SOURCES
from serving.catalog import Catalog
from serving.contributions import Shown, ShownTies
from serving.list_request import RequestTable
from serving.recommendation import Source
from serving.sentences import sentence
from serving.why import (
    BoughtBefore,
    ChosenAfterQuery,
    FitsLast,
    FitsProfile,
    ForNewcomer,
    GoesWithHistory,
    Language,
    MatchesQuery,
    NewItem,
    Pinned,
    Popular,
    PopularInCategory,
    Sponsored,
    ViewedTogether,
    Why,
)

Explain: TypeAlias = Literal["off", "cheap", "leave_one_out"]
"""Which contributions a list tells: none; those that cost no run of the network; all."""

Found = TypeVar("Found")


def objects(each: Sequence[object]) -> NDArray[np.object_]:
    """An array of these, out of which numpy takes many at a time, five times as fast as Python."""
    found = np.empty(len(each), np.object_)
    for at, one in enumerate(each):
        found[at] = one
    return found


SOURCES_OF_BITS = objects(
    [
        tuple(source for source in SOURCES if bits & SOURCE_BIT[source])
        for bits in range(2 * max(SOURCE_BIT.values()))
    ]
)
"""The names of the sources, by their bits."""
_FIRST_BIT = np.array([0, *(SOURCE_BIT[sources[0]] for sources in SOURCES_OF_BITS[1:])], np.uint8)

UNKNOWN_ITEMS, NO_ITEMS = -1, -2
"""In the place of a row: the catalogue has none of a user's items; he has none."""


class Telling(NamedTuple):
    """What lists tell of themselves."""

    languages: tuple[Language, ...] = ("en",)
    """Of the sentences, the one of ``Recommended.reason`` first."""
    explain: Explain = "cheap"


TELLING = Telling()


class Reasons(NamedTuple):
    """The reasons of N items, in columns."""

    sentences: list[str]
    because: list[str | None]
    why: list[Why]
    every: list[dict[Language, str]]
    """The sentences in each language; empty where one language is all."""


def reasons_of(
    shown: Shown,
    ties: ShownTies,
    requests: RequestTable,
    catalog: Catalog,
    languages: tuple[Language, ...],
) -> Reasons:
    """The reason of each item."""
    items = catalog.items

    def matches(number: int) -> Why:
        return MatchesQuery(requests[number].query or "")

    def chosen(number: int) -> Why:
        return ChosenAfterQuery(requests[number].query or "")

    def together(row: int) -> Why:
        return ViewedTogether(*_named(items[row])) if row >= 0 else GoesWithHistory()

    def fits(row: int) -> Why:
        if row >= 0:
            return FitsLast(*_named(items[row]))
        return FitsProfile() if row == UNKNOWN_ITEMS else ForNewcomer()

    def popular(row: int) -> Why:
        category = items[row].category
        return PopularInCategory(category[-1]) if category else Popular()

    nothing = np.zeros(len(shown.rows), np.int64)
    paid = nothing if shown.sponsored is None else shown.sponsored.astype(np.int64)
    makers: tuple[tuple[Source, Callable[[int], Why], NDArray[np.int64]], ...] = (
        ("rule", lambda paid: Sponsored() if paid else Pinned(), paid),
        ("search", matches, shown.owner),
        ("chosen", chosen, shown.owner),
        ("together", together, ties.strongest(len(shown.rows))),
        ("nearest", fits, newest_known(requests.histories, catalog)[shown.owner]),
        ("new", lambda _: NewItem(), nothing),
        ("popular", popular, shown.rows),
    )
    first = _FIRST_BIT[shown.sources]
    # Few reasons differ: each is made once, and then taken by its number.
    distinct: list[Why] = [BoughtBefore()]
    numbers = np.zeros(len(first), np.int64)
    for source, reason, about in makers:
        here = np.flatnonzero(first == SOURCE_BIT[source])
        if len(here):
            different, which = np.unique(about[here], return_inverse=True)
            numbers[here] = len(distinct) + which
            distinct += map(reason, different.tolist())
    return in_columns(distinct, numbers, languages)


def in_columns(
    distinct: list[Why], numbers: NDArray[np.int64], languages: tuple[Language, ...]
) -> Reasons:
    """The reasons with these numbers, told in these languages."""

    def taken(of_each: Sequence[Found]) -> list[Found]:
        found: list[Found] = objects(of_each)[numbers].tolist()
        return found

    said = [[sentence(why, language) for why in distinct] for language in languages]
    every: list[dict[Language, str]] = []
    if len(languages) > 1:
        every = taken([dict(zip(languages, each, strict=True)) for each in zip(*said, strict=True)])
    because = [why.because for why in distinct]
    return Reasons(taken(said[0]), taken(because), taken(distinct), every)


def _named(item: Item) -> tuple[str, str]:
    return item.item_id, item.title


def newest_known(histories: Histories, catalog: Catalog) -> NDArray[np.int64]:
    """The row of each user's newest item that the catalogue has, int64 [B]; ``UNKNOWN_ITEMS`` where
    it has none of them, ``NO_ITEMS`` where there are none."""
    rows = np.full(len(histories), NO_ITEMS, np.int64)
    someone = np.flatnonzero(np.diff(histories.starts))
    rows[someone] = catalog.rows_of_hashes(histories.items[histories.starts[someone + 1] - 1])
    for user in someone[rows[someone] < 0].tolist():
        found = catalog.rows_of_hashes(histories[user].items)
        rows[user] = max(found[found >= 0][-1:], default=UNKNOWN_ITEMS)
    return rows
