"""Rows of tables as JSON by columns: the same bytes as one by one, and no rule of its own."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from model.events import MAX_FUTURE_MS, ContractError, Event, decode_event
from stream.event_columns import EventReader
from stream.event_json import json_columns
from stream.rows import BadRow, json_of, read_rows
from stream.sound_rows import sound_rows

NOW = 1_800_000_000_000
OPTIONAL = {"session_id": pa.string(), "query": pa.string(), "item_id": pa.string(),
            "rec_id": pa.string(), "dwell_ms": pa.int64(), "position": pa.int32(),
            "price": pa.float64(), "quantity": pa.float32(), "value": pa.float64(),
            "generated": pa.bool_(), "item_ids": pa.list_(pa.string()), "text": pa.large_string(),
            "anonymous_id": pa.string(),
            "attributes": pa.struct([("age", pa.int64()), ("name", pa.string())]),
            "context": pa.struct([("country", pa.string())])}  # fmt: skip
SCHEMA = pa.schema(
    {"type": pa.string(), "event_id": pa.string(), "user_id": pa.string(), "ts": pa.int64()}
    | OPTIONAL
)

texts = st.one_of(
    st.sampled_from(
        ["", "a", "item-1", 'a"b', "back\\slash", "line\nend", "鞋", "é" * 200, "x" * 257]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
)
numbers = st.one_of(
    st.floats(), st.floats(-1, 100), st.integers(-3, 300).map(float),
    st.sampled_from([0.0, -0.0, 1e-5, 0.001, 9999999.5, 1e7, 1e15, 5e-324, 1.7e308]),
)  # fmt: skip
times = st.one_of(
    st.integers(-2, 2_000_000_000_000),
    st.sampled_from([0, NOW + MAX_FUTURE_MS, NOW + MAX_FUTURE_MS + 1, 2**47, 2**62]),
)
floats32 = st.floats(width=32)
any_rows = st.fixed_dictionaries(
    {
        "type": st.none() | st.sampled_from(
            ["click", "cart", "purchase", "favorite", "search", "rating", "user", "identify",
             "impression", "forget", "Click", ""]
        ),
        "event_id": st.none() | texts,
        "user_id": st.none() | texts,
        "ts": st.none() | times,
    },
    optional={
        "session_id": st.none() | texts,
        "query": st.none() | texts | st.just("q" * 513),
        "item_id": st.none() | texts,
        "rec_id": st.none() | texts,
        "dwell_ms": st.none() | st.integers(-2, 5),
        "position": st.none() | st.integers(-2, 5),
        "price": st.none() | numbers,
        "quantity": st.none() | floats32,
        "value": st.none() | numbers,
        "generated": st.none() | st.booleans(),
        "item_ids": st.none() | st.lists(st.none() | texts, max_size=3),
        "text": st.none() | texts,
        "anonymous_id": st.none() | texts,
        "attributes": st.none() | st.fixed_dictionaries({"age": st.none() | st.integers(0, 5)}),
        "context": st.none() | st.fixed_dictionaries({"country": st.none() | texts}),
    },
)  # fmt: skip


GOOD = {"event_id": "e", "user_id": "u", "ts": NOW, "item_id": "i", "query": "q"}
nearly_good_rows = st.builds(
    lambda kind, row, names: (
        GOOD | {"type": kind} | {name: row[name] for name in names if name in row}
    ),
    st.sampled_from(["click", "cart", "purchase", "favorite", "search", "rating"]),
    any_rows,
    st.sets(st.sampled_from(SCHEMA.names), max_size=3),
)
rows = any_rows | nearly_good_rows


def table(some: list[dict[str, Any]]) -> Any:
    """Rows as a record batch with all columns."""
    (batch,) = pa.Table.from_pylist(some, SCHEMA).combine_chunks().to_batches()
    return batch


def taken(data: bytes) -> Event | None:
    """What the contract makes of JSON; None where it refuses."""
    try:
        return decode_event(data, NOW)
    except ContractError:
        return None


@settings(max_examples=120, deadline=None)
@given(some=st.lists(rows, min_size=1, max_size=6))
def test_columns_give_the_same_bytes_as_rows(some: list[dict[str, Any]]) -> None:
    batch = table(some)
    data, is_whole = json_columns(batch)
    for row, text, whole in zip(
        batch.to_pylist(), data.to_pylist(), is_whole.to_pylist(), strict=True
    ):
        if whole:
            assert text.encode() == json_of(row)


@settings(max_examples=120, deadline=None)
@given(some=st.lists(rows, min_size=1, max_size=6))
def test_what_is_sound_is_an_event(some: list[dict[str, Any]]) -> None:
    batch = table(some)
    data, is_whole = json_columns(batch)
    sound = sound_rows(batch, data, is_whole, NOW).to_pylist()
    for row, is_sound in zip(batch.to_pylist(), sound, strict=True):
        if is_sound:
            event = taken(json_of(row))
            assert event is not None
            assert (event.ts, event.event_id) == (row["ts"], row["event_id"])


def test_usual_rows_take_the_short_way() -> None:
    """Else the properties above would hold of nothing."""
    common = {"event_id": "e", "user_id": "用户", "ts": NOW, "session_id": "s"}
    some = [
        common | {"type": "click", "item_id": "i", "dwell_ms": 5, "generated": True},
        common | {"type": "cart", "item_id": "i", "price": 1.5, "quantity": 2.0},
        common | {"type": "purchase", "item_id": "i", "price": 0.0, "rec_id": "r"},
        common | {"type": "favorite", "item_id": "i", "price": float("nan")},
        common | {"type": "search", "query": "红 鞋"},
    ]
    batch = table(some)
    data, is_whole = json_columns(batch)
    assert is_whole.to_pylist() == [True] * 5
    assert sound_rows(batch, data, is_whole, NOW).to_pylist() == [True] * 5
    assert json.loads(data[1].as_py()) == some[1]


@pytest.mark.parametrize(
    ("name", "value"),
    [("event_id", ""), ("user_id", "é" * 129), ("ts", NOW + MAX_FUTURE_MS + 1), ("ts", -1),
     ("item_id", None), ("price", -0.5), ("quantity", 0.0), ("dwell_ms", -1), ("type", "Click"),
     ("user_id", None), ("context", {"country": "DE"})],
)  # fmt: skip
def test_what_the_columns_cannot_vouch_for_is_left_to_the_contract(name: str, value: Any) -> None:
    good = {"type": "cart", "event_id": "e", "user_id": "u", "ts": NOW, "item_id": "i"}
    batch = table([good, good | {name: value}])
    assert sound_rows(batch, *json_columns(batch), NOW).to_pylist() == [True, False]


def events_of(path: Path) -> tuple[list[bytes], list[BadRow]]:
    """The events and bad rows of a file, by columns."""
    bad: list[BadRow] = []
    found = EventReader(bad.append, NOW).read(path)
    return [value for events in found for value in events.column("data").to_pylist()], bad


@settings(max_examples=50, deadline=None)
@given(some=st.lists(rows, min_size=1, max_size=6))
def test_a_file_gives_the_events_and_faults_of_its_rows(
    tmp_path_factory: pytest.TempPathFactory, some: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.parquet"
    parquet.write_table(pa.Table.from_pylist(some, SCHEMA), path)
    data, bad = events_of(path)
    faults = {row.line: row.reason for row in bad}
    expected: list[bytes] = []
    for row in read_rows(path):
        try:
            decode_event(row.data, NOW)
        except ContractError as error:
            assert faults.pop(row.line) == error.reason
        else:
            expected.append(row.data)
    assert faults == {}
    assert sorted(data) == sorted(expected)


def test_text_that_is_none_is_a_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    row = {"type": "click", "event_id": "e", "user_id": "u", "ts": NOW, "item_id": "i"}
    whole = pa.Table.from_pylist([row, row, row])
    users = pa.array([b"u", b"\xff", b"u"], pa.binary())
    broken = pa.StringArray.from_buffers(3, *users.buffers()[1:])
    parquet.write_table(whole.set_column(2, "user_id", broken), path)
    data, bad = events_of(path)
    assert len(data) == 2
    assert [(each.line, each.reason) for each in bad] == [(2, "unreadable")]


def test_a_time_with_a_zone_is_its_milliseconds(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    moment = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
    row = {"type": "click", "event_id": "e", "user_id": "u", "ts": moment, "item_id": "i"}
    parquet.write_table(pa.Table.from_pylist([row]), path)
    (data,), bad = events_of(path)
    assert bad == []
    assert decode_event(data, NOW).ts == int(moment.timestamp() * 1000)


def test_a_missing_column_makes_every_row_bad(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    row = {"type": "click", "event_id": "e", "user_id": "u", "ts": NOW, "item_id": "i"}
    parquet.write_table(pa.Table.from_pylist([row] * 3).drop_columns(["item_id"]), path)
    data, bad = events_of(path)
    assert data == []
    assert [(each.line, each.reason) for each in bad] == [(n, "invalid") for n in (1, 2, 3)]
