"""The catalogue contract: what an item is, what is refused and why."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.events import MAX_TIME_MS, ContractError
from model.items import MAX_ITEM_BYTES, Item, decode_item, encode_item


def reason(data: bytes) -> str:
    """The reason for which a record is refused."""
    with pytest.raises(ContractError) as caught:
        decode_item(data)
    assert str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"item_id": "\xff"}'])
def test_what_is_no_json_is_malformed(data: bytes) -> None:
    assert reason(data) == "malformed_json"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"item_id": 7},
        {"item_id": None},
        {"item_id": "i", "title": 7},
        {"item_id": "i", "category": "tea"},
        {"item_id": "i", "category": [1]},
        {"item_id": "i", "brand": ["b"]},
        {"item_id": "i", "price": "1.99"},
        {"item_id": "i", "available": "yes"},
        {"item_id": "i", "available": 1},
        {"item_id": "i", "tags": "new"},
        {"item_id": "i", "stock": "many"},
        {"item_id": "i", "created": "yesterday"},
        {"item_id": "i", "created": "2026-01-31T12:00:00"},
    ],
)
def test_wrong_types_are_invalid(fields: dict[str, Any]) -> None:
    assert reason(json.dumps(fields).encode()) == "invalid"


@pytest.mark.parametrize("created", [-1, MAX_TIME_MS, "1969-12-31T23:59:59Z"])
def test_an_item_is_of_1970_or_later(created: int | str) -> None:
    assert reason(json.dumps({"item_id": "i", "created": created}).encode()) == "time_range"


def test_a_time_is_kept_in_milliseconds() -> None:
    item = decode_item(b'{"item_id": "i", "created": "2026-01-31T13:00:00.001+01:00"}')
    assert item.created == item.created_ms == 1_769_860_800_001
    assert Item(item_id="i").created_ms is None


def test_a_large_item_is_refused() -> None:
    assert reason(encode_item(Item(item_id="i", title="x" * MAX_ITEM_BYTES))) == "too_large"


@pytest.mark.parametrize("value", ["", "x" * 257, "漢" * 86, "🍵" * 65])
def test_an_id_has_1_to_256_bytes(value: str) -> None:
    assert reason(encode_item(Item(item_id=value))) == "id_length"


def test_only_the_id_is_required_and_unknown_fields_are_ignored() -> None:
    assert decode_item(b'{"item_id":"i","colour":["red"]}') == Item(item_id="i")


@given(
    st.builds(
        Item,
        item_id=st.text(min_size=1, max_size=64),
        title=st.text(max_size=99),
        category=st.lists(st.text(max_size=9), max_size=4).map(tuple),
        brand=st.none() | st.text(max_size=9),
        price=st.none() | st.floats(0, 1e9),
        available=st.booleans(),
        tags=st.lists(st.text(max_size=9), max_size=3).map(tuple),
        stock=st.none() | st.floats(0, 1e9),
        created=st.none() | st.integers(0, MAX_TIME_MS - 1),
    )
)
def test_every_item_survives_the_wire(item: Item) -> None:
    assert decode_item(encode_item(item)) == item


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_a_contract_error(data: bytes) -> None:
    try:
        assert decode_item(data).item_id
    except ContractError as error:
        assert error.reason
