"""Items, lists and dead letters as the page shows them: with titles, and reasons in all languages.

Pure: what is known comes from the catalogue and the records themselves.
"""

import msgspec

from serving.catalog import Catalog
from serving.recommendation import AsOf, Recommendation, Recommended
from serving.sentences import sentence
from serving.why import LANGUAGES
from stream.deadletter import StoredDeadLetter

MOST_DETAIL = 300
"""Characters of what was wrong with a record: a detail may quote it."""


class Product(msgspec.Struct, frozen=True, gc=False):
    """An item of the catalogue."""

    item_id: str
    title: str
    brand: str | None = None
    price: float | None = None
    category: tuple[str, ...] = ()


class ShownContribution(msgspec.Struct, frozen=True, gc=False):
    """What speaks for an item: one that the user has dealt with."""

    title: str
    amount: float


class ShownItem(msgspec.Struct, frozen=True, gc=False):
    """An item of a list."""

    product: Product
    rank: int
    score: float
    sources: tuple[str, ...]
    reasons: dict[str, str]
    """A sentence in each language."""
    contributions: tuple[ShownContribution, ...]


class ShownList(msgspec.Struct, frozen=True, gc=False):
    """A list with its lineage."""

    rec_id: str
    event_id: str
    ts: int
    as_of: AsOf
    bundle: str
    query: str | None
    step_ms: dict[str, float]
    items: tuple[ShownItem, ...]


class ShownLetter(msgspec.Struct, frozen=True, gc=False):
    """A dead letter, without what it holds."""

    place: str
    time: int
    reason: str
    detail: str
    source: str


def product_of(catalog: Catalog, item_id: str) -> Product:
    """What is known of an item; one that the catalogue does not hold is known by its id."""
    row = catalog.row_of(item_id)
    if row < 0:
        return Product(item_id, item_id)
    return product_in(catalog, row)


def product_in(catalog: Catalog, row: int) -> Product:
    """The item of a row."""
    item = catalog.items[row]
    return Product(
        item.item_id,
        item.title or item.item_id,
        item.brand,
        item.price,
        item.category,
    )


def shown_list(made: Recommendation, catalog: Catalog) -> ShownList:
    """A list as it stands in the topic, for a person."""
    return ShownList(
        made.rec_id,
        made.event_id,
        made.ts,
        made.as_of,
        made.bundle,
        made.query,
        made.step_ms,
        tuple(_shown_item(each, catalog) for each in made.items),
    )


def _shown_item(item: Recommended, catalog: Catalog) -> ShownItem:
    why = item.why
    return ShownItem(
        product_of(catalog, item.item_id),
        item.rank,
        item.score,
        item.sources,
        {each: item.reason if why is None else sentence(why, each) for each in LANGUAGES},
        tuple(
            ShownContribution(product_of(catalog, each.item_id).title, each.amount)
            for each in item.contributions
        ),
    )


def shown_letter(letter: StoredDeadLetter) -> ShownLetter:
    """A dead letter for a list of them."""
    return ShownLetter(
        str(letter.place),
        letter.time,
        letter.reason,
        letter.detail[:MOST_DETAIL],
        f"{letter.topic}:{letter.partition}:{letter.offset}",
    )
