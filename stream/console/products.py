"""The shop's shelves: what matches a query, or what is popular, in all or in one department."""

from collections import Counter

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.catalog import Catalog
from serving.parts import Parts
from stream.console.shown import Product, product_in

MOST_FOUND = 200
"""Matches of a query: what stands further down matches nothing."""
MOST_DEPARTMENTS = 24


class Department(msgspec.Struct, frozen=True, gc=False):
    """The most general part of category paths."""

    name: str
    items: int


class Shelf(msgspec.Struct, frozen=True, gc=False):
    """A part of the catalogue."""

    products: tuple[Product, ...]
    total: int
    departments: tuple[Department, ...]
    """Those with most items, most first."""


async def shelf(
    parts: Parts, query: str | None, department: str | None, first: int, count: int
) -> Shelf:
    """What may be recommended now.

    Args:
        parts: of the process.
        query: what is searched for; None: the popular items come first, then all in their order.
        department: only of it.
        first: products to leave out.
        count: products to show.
    """
    catalog = parts.catalog
    if query is None:
        rows = _popular_first(parts)
    else:
        (found,) = await catalog.search_index.find_lists([query], catalog.allowed, MOST_FOUND)
        rows = found.rows
    if department is not None:
        items = catalog.items
        inside = [items[row].category[:1] == (department,) for row in rows.tolist()]
        rows = rows[np.array(inside, np.bool_)]
    shown = tuple(product_in(catalog, row) for row in rows[first : first + count].tolist())
    return Shelf(shown, len(rows), _departments(catalog))


def _popular_first(parts: Parts) -> NDArray[np.int64]:
    catalog = parts.catalog
    popular = parts.candidates.popular_now.rows
    popular = popular[catalog.usable(popular)]
    others = catalog.allowed.copy()
    others[popular] = False
    return np.concatenate([popular, np.flatnonzero(others)])


def _departments(catalog: Catalog) -> tuple[Department, ...]:
    groups = catalog.categories
    of_group = np.bincount(groups.of(np.flatnonzero(catalog.allowed)))
    counts: Counter[str] = Counter()
    for group in np.flatnonzero(of_group).tolist():
        if path := groups.codes.values[group]:
            counts[path[0]] += int(of_group[group])
    return tuple(Department(*each) for each in counts.most_common(MOST_DEPARTMENTS))
