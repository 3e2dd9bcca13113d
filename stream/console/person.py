"""What is known of a user, as it is derived whenever the profile is read."""

from collections import Counter

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.affinity import DEPTHS, GroupTree, affinities, taken
from model.events import KIND_NAMES
from model.fresh_score import FreshWeights
from model.traits import split_traits
from serving.catalog import Catalog
from serving.parts import Parts
from serving.profile import Profile, histories_of, purchases_of
from stream.console.recent_lists import RecentLists
from stream.console.shown import Product, ShownList, product_in, shown_list

MOST_EVENTS = 40
MOST_AFFINITIES = 8


class PastEvent(msgspec.Struct, frozen=True, gc=False):
    """An interaction or a search."""

    kind: str
    time: int
    product: Product | None = None
    """None of a search, and of an item that the catalogue does not hold any more."""
    query: str | None = None


class Affinity(msgspec.Struct, frozen=True, gc=False):
    """A category or brand that the user takes."""

    name: tuple[str, ...]
    events: int
    """Of the profile."""
    lift: float
    """How many times as much as others he takes of it."""


class Person(msgspec.Struct, frozen=True, gc=False):
    """What a profile says, and the last lists that were made of it."""

    is_known: bool
    interactions: int
    searches: int
    purchases: int
    traits: int
    bytes: int
    """Of the profile as it is stored."""
    events: tuple[PastEvent, ...]
    """The newest, newest first."""
    categories: tuple[Affinity, ...]
    brands: tuple[Affinity, ...]
    last_lists: tuple[ShownList, ...]
    """Newest first."""
    forgotten_until: int
    """Time of the newest ``forget`` event, epoch milliseconds; -1 for none."""


async def person(parts: Parts, recent: RecentLists, user_id: str) -> Person:
    """What is known of a user. Raises redis.RedisError or serving.store.StoreError."""
    # The marker after the list: one who is forgotten meanwhile does not show it.
    last = await parts.store.last_list(user_id)
    (stored,) = await parts.store.read([user_id])
    lists = recent.of(user_id, last, stored.forgotten_until)
    profile = stored.profile
    searches = profile.searches()
    categories, brands = _affinities(parts, profile)
    return Person(
        is_known=any(profile),
        interactions=len(profile.history().items),
        searches=len(searches),
        purchases=len(profile.bought().items),
        traits=sum(1 for _ in split_traits(profile.traits)),
        bytes=len(profile.pack()) if any(profile) else 0,
        events=_events(parts.catalog, profile, searches),
        categories=categories,
        brands=brands,
        last_lists=tuple(shown_list(each, parts.catalog) for each in lists),
        forgotten_until=stored.forgotten_until,
    )


def _events(
    catalog: Catalog, profile: Profile, searches: list[tuple[int, str]]
) -> tuple[PastEvent, ...]:
    history = profile.history()
    rows = catalog.rows_of_hashes(history.items).tolist()
    done = [
        PastEvent(KIND_NAMES[kind], time, None if row < 0 else product_in(catalog, row))
        for kind, time, row in zip(
            history.kinds.tolist(), history.times.tolist(), rows, strict=True
        )
    ]
    asked = [PastEvent("search", time, query=text) for time, text in searches]
    newest = sorted([*done, *asked], key=lambda each: each.time, reverse=True)
    return tuple(newest[:MOST_EVENTS])


def _affinities(
    parts: Parts, profile: Profile
) -> tuple[tuple[Affinity, ...], tuple[Affinity, ...]]:
    """Beside everybody's shares, which are those of the popular items, as for new items' lists."""
    catalog, popular = parts.catalog, parts.candidates.popular_now
    events = taken(histories_of([profile]), purchases_of([profile]))
    rows = catalog.rows_of_hashes(events.items)
    rows = rows[rows >= 0]
    if not len(rows):
        return (), ()
    distinct, own = np.unique(np.concatenate([rows, popular.rows]), return_inverse=True)
    tree = GroupTree()
    for at, row in enumerate(distinct.tolist()):
        tree.put(at, catalog.items[row].category, catalog.items[row].brand)
    mine, others = own[: len(rows)], own[len(rows) :]
    shares = tree.shares(others, popular.weights(popular.rows))
    found = affinities(
        tree, shares, np.zeros(len(mine), np.int64), mine, lists=1, items=mine,
        smoothing=FreshWeights().smoothing,
    )  # fmt: skip
    held = [catalog.items[row] for row in rows.tolist()]
    return (
        _counted([each.category[:DEPTHS] for each in held], found.category[0]),
        _counted([(each.brand,) if each.brand else () for each in held], found.brand[0]),
    )


def _counted(names: list[tuple[str, ...]], logarithms: NDArray[np.float32]) -> tuple[Affinity, ...]:
    lifts = dict(zip(names, np.exp(logarithms).tolist(), strict=True))
    counts = Counter(each for each in names if each)
    return tuple(
        Affinity(name, events, lifts[name]) for name, events in counts.most_common(MOST_AFFINITIES)
    )
