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
from model.signals import POPULAR
from serving.catalog import Catalog
from serving.contributions import Shown, ShownTies
from serving.list_request import RequestTable
from serving.recommendation import SOURCE_BIT, SOURCES_OF_BITS, Source
from serving.sentences import sentence
from serving.source import Place
from serving.why import (
    BoughtBefore,
    ChosenAfterQuery,
    CorrectedQuery,
    FitsLast,
    FitsProfile,
    ForNewcomer,
    GoesWithHistory,
    Language,
    MatchesQuery,
    NearQuery,
    NewItem,
    Pinned,
    Popular,
    PopularInCategory,
    PopularInCountry,
    PopularInOwnCountry,
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


NAMES_OF_BITS = objects(SOURCES_OF_BITS)
_FIRST_BIT = np.array(
    [SOURCE_BIT[sources[0]] if sources else 0 for sources in SOURCES_OF_BITS], np.uint8
)

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
    in_countries: Sequence[Place] = (),
) -> Reasons:
    """The reason of each item; ``in_countries`` is what is popular where the lists are read."""
    items = catalog.items
    first = _FIRST_BIT[shown.sources]
    matches, how = _matches(shown, first, requests, catalog)
    countries, where = _countries(shown, first, requests, in_countries)

    def chosen(number: int) -> Why:
        return ChosenAfterQuery(requests[number].query or "")

    def together(row: int) -> Why:
        return ViewedTogether(*_named(items[row])) if row >= 0 else GoesWithHistory()

    def fits(row: int) -> Why:
        if row >= 0:
            return FitsLast(*_named(items[row]))
        return FitsProfile() if row == UNKNOWN_ITEMS else ForNewcomer()

    def popular(row: int) -> Why:
        if row < 0:
            country = countries[-1 - row]
            return PopularInCountry(country) if country else PopularInOwnCountry()
        category = items[row].category
        return PopularInCategory(category[-1]) if category else Popular()

    nothing = np.zeros(len(shown.rows), np.int64)
    paid = nothing if shown.sponsored is None else shown.sponsored.astype(np.int64)
    makers: tuple[tuple[Source, Callable[[int], Why], NDArray[np.int64]], ...] = (
        ("rule", lambda paid: Sponsored() if paid else Pinned(), paid),
        ("search", matches.__getitem__, how),
        ("chosen", chosen, shown.owner),
        ("together", together, ties.strongest(len(shown.rows))),
        ("nearest", fits, newest_known(requests.histories, catalog)[shown.owner]),
        ("new", lambda _: NewItem(), nothing),
        ("popular", popular, where),
    )
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


def _matches(
    shown: Shown, first: NDArray[np.uint8], requests: RequestTable, catalog: Catalog
) -> tuple[list[Why], NDArray[np.int64]]:
    """How items match the queries of their lists: the different ways, and int64 [N], which of them
    it is of each item that a search has found."""
    ways: list[Why] = []
    how = np.zeros(len(first), np.int64)
    found = np.flatnonzero(first == SOURCE_BIT["search"])
    for number in np.unique(shown.owner[found]).tolist():
        query = requests[number].query or ""
        here = found[shown.owner[found] == number]
        kinds, corrected = catalog.search_index.told(query, shown.rows[here])
        how[here] = len(ways) + kinds
        # In the order of ``MatchKind``.
        meant = " ".join(dict.fromkeys(word for _, word in corrected))
        ways += [MatchesQuery(query), CorrectedQuery(query, meant), NearQuery(query)]
    return ways, how


def _countries(
    shown: Shown, first: NDArray[np.uint8], requests: RequestTable, places: Sequence[Place]
) -> tuple[list[str], NDArray[np.int64]]:
    """Names of countries, empty where the profile knows it and the event does not say; and int64
    [N]: the row of each item; or, of one that is popular because it is so in the country of its
    list, -1 less the number of that."""
    names: list[str] = []
    where = shown.rows
    popular = first == SOURCE_BIT["popular"]
    for place in places:
        in_place = popular & np.isin(shown.rows, place.rows[:POPULAR])
        lists: dict[str, list[int]] = {}
        for number in place.lists.tolist():
            context = requests[number].context
            name = context.country if context is not None else None
            lists.setdefault(name or "", []).append(number)
        for name, those in lists.items():
            here = in_place & np.isin(shown.owner, those)
            if here.any():
                where = np.where(here, -1 - len(names), where)
                names.append(name)
    return names, where


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
