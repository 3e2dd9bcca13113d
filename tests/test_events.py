"""The event contract: what is taken, what is refused and why, and that nothing else can happen."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.events import (
    MAX_EVENT_BYTES,
    MAX_FUTURE_MS,
    MAX_TIME_MS,
    Cart,
    Click,
    Context,
    ContractError,
    Event,
    Favorite,
    Forget,
    Identify,
    Impression,
    Purchase,
    Rating,
    Search,
    User,
    decode_event,
    encode_event,
)

NOW = 1_800_000_000_000
CLICK: dict[str, Any] = {
    "type": "click", "event_id": "e", "user_id": "u", "ts": NOW, "item_id": "i"
}  # fmt: skip
SEARCH: dict[str, Any] = {
    "type": "search", "event_id": "e", "user_id": "u", "ts": NOW, "query": "tea"
}  # fmt: skip


def refusal(data: bytes | None) -> ContractError:
    """The error with which a record is refused."""
    with pytest.raises(ContractError) as caught:
        decode_event(data, NOW)
    return caught.value


def reason(fields: dict[str, Any]) -> str:
    """The reason for which these fields are refused."""
    return refusal(json.dumps(fields).encode()).reason


def without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b'{"type": "click"', b"\xff\xfe", b'{"type": "\xff"}'],
)
def test_what_is_no_json_is_malformed(data: bytes) -> None:
    assert refusal(data).reason == "malformed_json"


@pytest.mark.parametrize(
    "fields",
    [
        without(CLICK, "type"),
        CLICK | {"type": "teleport"},
        CLICK | {"type": 1},
        without(CLICK, "event_id"),
        without(CLICK, "user_id"),
        without(CLICK, "ts"),
        without(CLICK, "item_id"),
        CLICK | {"user_id": 7},
        CLICK | {"user_id": None},
        CLICK | {"item_id": ["i"]},
        CLICK | {"item_id": ""},
        CLICK | {"ts": "yesterday"},
        CLICK | {"ts": str(NOW)},
        CLICK | {"ts": 1.5},
        CLICK | {"ts": True},
        CLICK | {"ts": None},
        CLICK | {"ts": "2026-01-31T12:00:00"},
        CLICK | {"dwell_ms": -1},
        CLICK | {"dwell_ms": "5"},
        CLICK | {"context": "DE"},
        CLICK | {"context": {"country": 49}},
        SEARCH | {"query": ""},
        SEARCH | {"item_ids": "i"},
        SEARCH | {"item_ids": [1]},
        CLICK | {"type": "purchase", "quantity": 0},
        CLICK | {"type": "purchase", "price": -1},
        CLICK | {"type": "cart", "quantity": "two"},
        CLICK | {"type": "rating"},
        CLICK | {"type": "rating", "value": "good"},
        CLICK | {"type": "user", "attributes": {"a": {"b": 1}}},
        CLICK | {"type": "identify"},
    ],
)
def test_wrong_types_and_unknown_kinds_are_invalid(fields: dict[str, Any]) -> None:
    assert reason(fields) == "invalid"


@pytest.mark.parametrize("data", [b"[]", b"null", b"1", b'"click"', b"true", b"[" * 100_000])
def test_json_that_is_no_object_is_invalid(data: bytes) -> None:
    assert refusal(data).reason == "invalid"


def test_no_value_at_all() -> None:
    assert refusal(None).reason == "null_value"


def test_a_value_of_two_megabytes_is_too_large() -> None:
    error = refusal(json.dumps(CLICK | {"page": "x" * 2_000_000}).encode())
    assert error.reason == "too_large"
    assert str(MAX_EVENT_BYTES) in str(error)


@pytest.mark.parametrize("field", ["event_id", "user_id", "item_id"])
@pytest.mark.parametrize("value", ["x" * 257, "漢" * 86, "🍵" * 65])
def test_an_id_has_256_bytes_at_most(field: str, value: str) -> None:
    error = refusal(json.dumps(CLICK | {field: value}).encode())
    assert error.reason == "id_length"
    assert f"`{field}` has" in str(error)


@pytest.mark.parametrize("value", ["x" * 256, "漢" * 85, "🍵" * 64])
def test_an_id_of_256_bytes_is_taken(value: str) -> None:
    event = decode_event(json.dumps(CLICK | {"item_id": value}).encode(), NOW)
    assert isinstance(event, Click)
    assert event.item_id == value


@pytest.mark.parametrize(
    "fields",
    [
        SEARCH | {"item_ids": ["x" * 257]},
        CLICK | {"type": "impression", "rec_id": "r", "item_ids": ["i", "x" * 257]},
        CLICK | {"type": "identify", "anonymous_id": "x" * 257},
        *(CLICK | {"type": kind, "item_id": "x" * 257, "value": 1}
          for kind in ("cart", "favorite", "rating", "purchase")),
    ],
)  # fmt: skip
def test_every_id_of_every_kind_is_measured(fields: dict[str, Any]) -> None:
    assert reason(fields) == "id_length"


@pytest.mark.parametrize(
    "fields",
    [
        SEARCH | {"query": "x" * 10_000},
        SEARCH | {"query": "x" * 513},
        SEARCH | {"item_ids": ["i"] * 1_001},
        CLICK | {"type": "impression", "rec_id": "r", "item_ids": ["i"] * 1_001},
        CLICK | {"type": "rating", "value": 1, "text": "x" * 10_001},
    ],
)
def test_texts_and_lists_have_a_length(fields: dict[str, Any]) -> None:
    assert reason(fields) == "text_length"


@pytest.mark.parametrize("ts", [-1, "1969-12-31T23:59:59Z", MAX_TIME_MS, "9999-12-31T23:59:59Z"])
def test_a_time_before_1970_or_after_6429_is_out_of_range(ts: Any) -> None:
    assert reason(CLICK | {"ts": ts}) == "time_range"


def test_a_time_in_the_future_is_refused_beyond_ten_minutes() -> None:
    assert reason(CLICK | {"ts": NOW + MAX_FUTURE_MS + 1}) == "future_time"
    late = json.dumps(CLICK | {"ts": NOW + MAX_FUTURE_MS}).encode()
    assert decode_event(late, NOW).ts == NOW + MAX_FUTURE_MS


def test_an_old_event_is_fine() -> None:
    assert decode_event(json.dumps(CLICK | {"ts": 0}).encode(), NOW).ts == 0


@pytest.mark.parametrize(
    ("ts", "milliseconds"),
    [
        ("1970-01-01T00:00:01Z", 1_000),
        ("1970-01-01T02:00:01.25+02:00", 1_250),
        ("1970-01-01T00:00:00.0019Z", 1),
        (1_250, 1_250),
    ],
)
def test_times_are_epoch_milliseconds_after_decoding(ts: Any, milliseconds: int) -> None:
    assert decode_event(json.dumps(CLICK | {"ts": ts}).encode(), NOW).ts == milliseconds


def test_unknown_fields_are_allowed_and_ignored() -> None:
    event = decode_event(json.dumps(CLICK | {"colour": {"deep": [1]}}).encode(), NOW)
    assert event == Click(event_id="e", user_id="u", ts=NOW, item_id="i")


@pytest.mark.parametrize(
    "text", ["绿茶", "🍵🫖", "شاي أخضر", "\u202eeat", "e\u0301", "\x00", "'\"\\"]
)
def test_any_unicode_is_taken(text: str) -> None:
    event = decode_event(json.dumps(SEARCH | {"query": text, "user_id": text}).encode(), NOW)
    assert isinstance(event, Search)
    assert (event.query, event.user_id) == (text, text)


ids = st.text(min_size=1, max_size=64)
numbers = st.floats(0, 1e9, exclude_min=True)
texts = st.none() | st.text(max_size=50)
common = {
    "event_id": ids,
    "user_id": ids,
    "ts": st.integers(0, NOW),
    "session_id": texts,
    "context": st.none() | st.builds(Context, country=texts, device=texts, page=texts),
    "generated": st.booleans(),
}
counts = st.none() | st.integers(0, 2**53)
priced = {"item_id": ids, "quantity": numbers, "price": st.none() | numbers}
attributes = (
    st.none() | st.text() | st.integers(-(2**53), 2**53) | st.booleans() | st.lists(st.text())
)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Click, **common, item_id=ids, dwell_ms=counts, position=counts, rec_id=texts),
    st.builds(
        Search,
        **common,
        query=st.text(min_size=1, max_size=512),
        item_ids=st.lists(ids, max_size=9).map(tuple),
    ),
    st.builds(Cart, **common, **priced),
    st.builds(Purchase, **common, **priced),
    st.builds(Favorite, **common, **priced),
    st.builds(Rating, **common, item_id=ids, value=st.floats(-1e9, 1e9), text=texts),
    st.builds(
        Impression, **common, rec_id=st.text(), item_ids=st.lists(ids, max_size=9).map(tuple)
    ),
    st.builds(User, **common, attributes=st.dictionaries(st.text(), attributes, max_size=5)),
    st.builds(Identify, **common, anonymous_id=ids),
    st.builds(Forget, **common),
)


@given(events)
def test_every_event_survives_the_wire(event: Event) -> None:
    assert decode_event(encode_event(event), NOW) == event


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_a_contract_error(data: bytes) -> None:
    assert_taken_or_refused(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)
fields = st.sampled_from(
    ["type", "ts", "event_id", "user_id", "item_id", "query", "context", "quantity", "item_ids"]
)


@given(st.sampled_from([CLICK, SEARCH]), st.dictionaries(fields, json_values, max_size=3))
def test_random_fields_raise_nothing_but_a_contract_error(
    valid: dict[str, Any], changes: dict[str, Any]
) -> None:
    assert_taken_or_refused(json.dumps(valid | changes).encode("utf-8", "surrogatepass"))


@given(events, st.data())
def test_a_truncated_event_is_refused(event: Event, data: st.DataObject) -> None:
    whole = encode_event(event)
    cut = data.draw(st.integers(0, len(whole) - 1))
    # A number that is cut off is a smaller number, and so may be out of range before the end.
    assert refusal(whole[:cut]).reason in ("malformed_json", "invalid")


def assert_taken_or_refused(data: bytes) -> None:
    """Either an event that can be encoded again, or a reason and a sentence."""
    try:
        event = decode_event(data, NOW)
    except ContractError as error:
        assert error.reason
        assert str(error)
    else:
        assert isinstance(event.ts, int)
        assert msgspec.json.decode(encode_event(event))["type"]
