"""What is put, changed or removed counts from the next question on."""

from collections.abc import Callable

import numpy as np
import pytest

from model.features import FIRST_ITEM, UNKNOWN, Vocabulary
from model.ids import item_hashes
from model.items import Item, decode_item
from serving.catalog import NEVER, Catalog


@pytest.fixture
def catalog() -> Catalog:
    """Knows a, b and c; the network knows a, b and x."""
    made = Catalog(Vocabulary(["a", "b", "x"]))
    for item_id in "abc":
        made.put(Item(item_id=item_id, title=f"title {item_id}", category=("shop",)))
    return made


def found(catalog: Catalog, query: str) -> list[str]:
    """Ids of the items that a query finds."""
    rows, *_ = catalog.search_index.find(query, catalog.allowed, 10)
    return [catalog.items[row].item_id for row in rows]


def biased(catalog: Catalog) -> list[bool]:
    """Which of a, b and x the network may propose."""
    return [bool(bias == 0) for bias in catalog.item_bias[FIRST_ITEM:]]


def test_an_item_is_found_by_everything_that_names_it(catalog: Catalog) -> None:
    assert len(catalog) == 3
    assert catalog.get("b") == Item(item_id="b", title="title b", category=("shop",))
    assert catalog.get("z") is None
    rows = catalog.rows_of_hashes(item_hashes(["c", "z", "a"]))
    assert rows.tolist() == [2, -1, 0]
    assert [catalog.row_of(each) for each in ("c", "z", None)] == [2, -1, -1]
    assert catalog.usable(np.array([-1, 0, 2])).tolist() == [False, True, True]
    assert catalog.model_rows.tolist() == [FIRST_ITEM, FIRST_ITEM + 1, UNKNOWN]
    assert catalog.rows_of_model(np.array([[2, 3, 4, 0, 1]])).tolist() == [[0, 1, -1, -1, -1]]
    assert biased(catalog) == [True, True, False], "x is not in the catalogue"
    assert catalog.item_bias[:FIRST_ITEM].tolist() == [NEVER, NEVER]


def test_an_empty_catalogue_answers_too() -> None:
    catalog = Catalog(Vocabulary([]))
    assert len(catalog) == 0
    assert catalog.allowed.tolist() == []
    assert catalog.usable(np.array([-1, -1])).tolist() == [False, False]
    assert catalog.rows_of_hashes(item_hashes(["a"])).tolist() == [-1]


def test_the_edition_of_the_bias_changes_with_it(catalog: Catalog) -> None:
    def changed(change: Callable[[], object]) -> bool:
        edition, bias = catalog.bias_edition, catalog.item_bias.tolist()
        change()
        assert catalog.item_bias.tolist() != bias
        return catalog.bias_edition != edition

    assert changed(lambda: catalog.put(Item(item_id="a", title="title a", available=False)))
    assert changed(lambda: catalog.put(Item(item_id="a", title="title a")))
    assert changed(lambda: catalog.remove("a"))


def test_a_removed_item_is_gone(catalog: Catalog) -> None:
    edition = catalog.edition
    catalog.remove("a")
    catalog.remove("never heard of")
    assert catalog.get("a") is None
    assert len(catalog) == 2
    assert found(catalog, "title") == ["b", "c"]
    assert catalog.rows_of_hashes(item_hashes(["a"])).tolist() == [-1]
    assert biased(catalog) == [False, True, False]
    assert catalog.edition != edition


def test_a_removed_item_can_come_back(catalog: Catalog) -> None:
    catalog.remove("a")
    catalog.put(Item(item_id="a", title="title a again"))
    assert sorted(found(catalog, "title")) == ["a", "b", "c"]
    assert biased(catalog) == [True, True, False]
    row = int(catalog.rows_of_hashes(item_hashes(["a"]))[0])
    assert catalog.items[row].title == "title a again"
    assert catalog.rows_of_model(np.array([FIRST_ITEM])).tolist() == [row]


def test_availability_and_price_change_in_place(catalog: Catalog) -> None:
    edition, rows = catalog.edition, len(catalog.items)
    for available in (False, False, True):
        catalog.put(
            Item(item_id="b", title="title b", category=("shop",), price=2.0, available=available)
        )
        assert ("b" in found(catalog, "title")) is available
        assert biased(catalog) == [True, available, False]
        assert catalog.usable(np.array([1])).tolist() == [available]
    item = catalog.get("b")
    assert item is not None
    assert item.price == 2.0
    assert (catalog.edition, len(catalog.items)) == (edition, rows)


def test_a_changed_text_is_found_and_the_old_one_is_not(catalog: Catalog) -> None:
    edition = catalog.edition
    catalog.put(Item(item_id="b", title="智能手机"))
    assert found(catalog, "手机") == ["b"]
    assert found(catalog, "title shop") == ["a", "c"]
    assert len(catalog) == 3
    assert biased(catalog) == [True, True, False]
    assert catalog.edition != edition


def test_an_unavailable_item_may_change_its_text(catalog: Catalog) -> None:
    catalog.put(Item(item_id="b", title="new title", available=False))
    assert biased(catalog) == [True, False, False]
    assert found(catalog, "new") == []


def test_items_of_a_category_hold_it_once() -> None:
    catalog = Catalog(Vocabulary([]))
    for item_id in ("a", "b"):
        catalog.put(decode_item(b'{"item_id":"%b","category":["x","y"]}' % item_id.encode()))
    one, other = catalog.items
    assert one.category == ("x", "y")
    assert one.category is other.category


def test_grows_past_its_first_size() -> None:
    ids = [f"item {at}" for at in range(2500)]
    catalog = Catalog(Vocabulary(ids))
    for item_id in ids:
        catalog.put(Item(item_id=item_id))
    assert len(catalog) == 2500
    assert catalog.model_rows.tolist() == list(range(FIRST_ITEM, FIRST_ITEM + 2500))
    assert catalog.rows_of_hashes(item_hashes(ids)).tolist() == list(range(2500))
    assert (catalog.item_bias[FIRST_ITEM:] == 0).all()
