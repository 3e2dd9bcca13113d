"""A catalogue beside a log: what is in which category, and what is known by when."""

import numpy as np

from model.interests import NONE
from model.items import Item
from model.log_catalogue import LogCatalogue
from tests.planted import at, log_of

LOG = log_of([("u", name, at(day)) for day, name in enumerate(("tea", "jam", "lamp", "odd"))])
ITEMS = [
    Item(item_id="tea", category=("food", "tea", "green")),
    Item(item_id="jam", category=("food",), created=at(3)),
    Item(item_id="lamp", category=("home",), created=at(1)),
    Item(item_id="elsewhere", category=("food",)),
]
EVERY = np.arange(4)


def names(rows: np.typing.NDArray[np.int64]) -> list[str]:
    return [LOG.item_ids[row] for row in rows]


def test_a_category_holds_what_is_below_it() -> None:
    catalogue = LogCatalogue(LOG, ITEMS)
    tea, food, home, none = catalogue.categories(EVERY).tolist()
    assert len({tea, food, home, none}) == 4
    assert none == NONE
    assert names(catalogue.in_category(food, EVERY[::-1])) == ["jam", "tea"]
    assert names(catalogue.in_category(tea, EVERY)) == ["tea"]
    assert names(catalogue.in_category(home, EVERY)) == ["lamp"]


def test_what_is_no_item_of_the_log_has_no_category() -> None:
    assert LogCatalogue(LOG, ITEMS).categories(np.array([-1])).tolist() == [NONE]


def test_an_item_is_known_by_its_first_event_or_before_by_the_catalogue() -> None:
    catalogue = LogCatalogue(LOG, ITEMS)
    assert names(catalogue.known_by(at(2))) == ["tea", "jam", "lamp"]
    assert names(catalogue.known_by(at(9)))[-1] == "odd"


def test_the_first_who_buys_an_item_does_not_make_it_known_to_his_own_list() -> None:
    catalogue = LogCatalogue(LOG, ITEMS)
    assert "odd" not in names(catalogue.known_by(at(3)))
    assert "odd" in names(catalogue.known_by(at(3) + 1))
