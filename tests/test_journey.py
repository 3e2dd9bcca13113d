"""The Complete Journey is read as its package documents it."""

from datetime import UTC, datetime

import numpy as np
import pytest

from model import journey
from model.dataset import PURCHASE
from model.items import decode_item, encode_item
from model.journey import load_items, load_purchases


def test_every_purchase_line_is_there() -> None:
    log = load_purchases()
    assert (len(log), len(log.user_ids), len(log.item_ids)) == (1_469_307, 2_469, 68_509)
    assert (np.diff(log.users) >= 0).all()
    assert set(np.unique(log.kinds)) == {PURCHASE}
    first, last = (
        datetime.fromtimestamp(time / 1000, UTC) for time in (min(log.times), max(log.times))
    )
    assert first == datetime(2017, 1, 1, 11, 53, 26, tzinfo=UTC)
    assert last == datetime(2018, 1, 1, 4, 1, 20, tzinfo=UTC)
    line = np.flatnonzero(log.times == int(first.timestamp() * 1000))
    assert [(log.user_ids[log.users[row]], log.item_ids[log.items[row]]) for row in line] == [
        ("900", "1095275")
    ]


def test_every_product_is_an_item_that_the_catalogue_takes() -> None:
    items = load_items()
    assert len({item.item_id for item in items}) == 92_331
    ice = items[0]
    assert ice.category == ("GROCERY", "FRZN ICE", "ICE - CRUSHED/CUBED")
    assert (ice.item_id, ice.title, ice.brand) == (
        "25671",
        "Ice - crushed/cubed, 22 lb",
        "National",
    )
    assert all(item.title for item in items)
    for item in items[:: len(items) // 500]:
        assert decode_item(encode_item(item)) == item
    # Seventeen products were sold that the package's product table does not name.
    assert len(set(load_purchases().item_ids) - {item.item_id for item in items}) == 17


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journey, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'nextclick\[demo\]'"):
        load_items()
