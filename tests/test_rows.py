"""Rows of files: every format gives the same JSON, and a bad row costs no other."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet

from model.events import Click, Event, decode_event
from stream.lines import MAX_LINE_BYTES
from stream.parquet_rows import BATCH_BYTES, parquet_batches
from stream.rows import BadRow, DamagedFileError, RowsError, decode_rows, read_rows

NOW = 1_800_000_000_000
CLICKS: list[dict[str, Any]] = [
    {"type": "click", "event_id": f"e{n}", "user_id": "007", "ts": 1_700_000_000_000 + n,
     "item_id": "🍐", "dwell_ms": 5 * n}
    for n in range(1_000)
]  # fmt: skip
JSONL = "".join(json.dumps(click) + "\n" for click in CLICKS).encode()
CSV = (
    "type,event_id,user_id,ts,item_id,dwell_ms,query\n"
    + "".join(",".join(str(value) for value in click.values()) + ",\n" for click in CLICKS)
).encode()


def read(path: Path) -> tuple[list[Event], list[BadRow]]:
    """All events of a file and the rows left out."""
    bad: list[BadRow] = []
    rows = decode_rows(read_rows(path), lambda data: decode_event(data, NOW), bad.append)
    return [event for _, event in rows], bad


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", JSONL),
        ("a.ndjson", b"\xef\xbb\xbf" + JSONL.replace(b"\n", b"\r\n\r\n")),
        ("a.jsonl.gz", gzip.compress(JSONL)),
        ("a.jsonl.zst", zstandard.compress(JSONL)),
        ("two-frames.jsonl.zst", zstandard.compress(JSONL[:99]) + zstandard.compress(JSONL[99:])),
        ("a.csv", CSV),
        ("A.CSV", b"\xef\xbb\xbf" + CSV.replace(b"\n", b"\r\n")),
        ("a.csv.gz", gzip.compress(CSV)),
        ("a.csv.zst", zstandard.compress(CSV)),
    ],
)
def test_every_format_gives_the_same_events(tmp_path: Path, name: str, data: bytes) -> None:
    events, bad = read(write(tmp_path / name, data))
    assert bad == []
    assert len(events) == 1_000
    assert events[7] == Click(
        event_id="e7", user_id="007", ts=1_700_000_000_007, item_id="🍐", dwell_ms=35
    )


def test_parquet_gives_the_same_events(tmp_path: Path) -> None:
    parquet.write_table(pa.Table.from_pylist(CLICKS), tmp_path / "a.parquet")
    events, bad = read(tmp_path / "a.parquet")
    assert bad == []
    assert events[7] == Click(
        event_id="e7", user_id="007", ts=1_700_000_000_007, item_id="🍐", dwell_ms=35
    )
    assert len(events) == 1_000


def test_long_rows_of_parquet_are_read_in_smaller_batches(tmp_path: Path) -> None:
    rows = [click | {"page": ("x" * 50_000) + str(at)} for at, click in enumerate(CLICKS)]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    batches = [batch.nbytes for batch in parquet_batches(tmp_path / "a.parquet")]
    assert len(batches) > 5
    assert max(batches) < 1.2 * BATCH_BYTES


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_parquet_times_of_every_unit(tmp_path: Path, unit: str) -> None:
    moment = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
    table = pa.table(
        {
            "type": ["click"],
            "event_id": ["e"],
            "user_id": ["u"],
            "item_id": ["i"],
            "ts": pa.array([moment], pa.timestamp(unit, "Europe/Berlin")),
            "dwell_ms": pa.array([None], pa.int64()),
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    (event,), bad = read(tmp_path / "a.parquet")
    assert bad == []
    assert event.ts == int(moment.timestamp() * 1000)


def test_a_parquet_time_without_zone_is_refused(tmp_path: Path) -> None:
    row = {"type": "forget", "event_id": "e", "user_id": "u", "ts": datetime(2026, 1, 31)}
    parquet.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    events, bad = read(tmp_path / "a.parquet")
    assert events == []
    assert "`ts` has no offset" in bad[0].detail


def test_a_missing_number_of_a_table_is_an_absent_field(tmp_path: Path) -> None:
    rows = [CLICKS[0] | {"type": "purchase", "quantity": value} for value in (2.0, float("nan"))]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    events, bad = read(tmp_path / "a.parquet")
    assert bad == []
    assert [getattr(event, "quantity") for event in events] == [2.0, 1]  # noqa: B009


def test_csv_cells_become_what_the_contract_wants(tmp_path: Path) -> None:
    text = (
        "type,event_id,user_id,ts,query,item_ids,attributes,context.country,generated\n"
        'search,1,u,2026-01-31T12:00:00Z,"red\n""shoes""",a|b,,DE,TRUE\n'
        'search,2,u,5,12,"[""a|b""]",,,\n'
        'user,3,u,5,,,"{""age"": 7}",,false\n'
    )
    path = write(tmp_path / "a.csv", text.encode())
    first, second, third = (json.loads(row.data) for row in read_rows(path))
    assert first["query"] == 'red\n"shoes"'
    assert first["item_ids"] == ["a", "b"]
    assert first["context"] == {"country": "DE"}
    assert first["generated"] is True
    assert second["query"] == "12"
    assert second["item_ids"] == ["a|b"]
    assert "context" not in second
    assert third["attributes"] == {"age": 7}
    assert read(path)[1] == []


def test_each_bad_row_is_named_and_the_good_ones_are_read(tmp_path: Path) -> None:
    good = JSONL.splitlines()[:3]
    data = b"\n".join([good[0], b"{", good[1], b"", b'{"type":"click"}', b"\xff\xfe", good[2]])
    path = write(tmp_path / "a.jsonl", data)
    events, bad = read(path)
    assert [event.event_id for event in events] == ["e0", "e1", "e2"]
    assert [(row.line, row.reason) for row in bad] == [
        (2, "malformed_json"),
        (5, "invalid"),
        (6, "malformed_json"),
    ]
    assert str(bad[0]).startswith(f"{path}:2: malformed_json: ")


def test_each_bad_row_of_a_csv_is_named(tmp_path: Path) -> None:
    data = (
        b"type,event_id,user_id,ts,item_id,dwell_ms\n"
        b"click,1,u,5,i,x\n"
        b"click,2,u,5,i\n"
        b"click,3,u,5,\xff,\n"
        b"click,4,u,5,i," + b"9" * 5_000 + b"\n"
        b"click,5,u,5,i,7\n"
    )
    events, bad = read(write(tmp_path / "a.csv", data))
    assert [event.event_id for event in events] == ["5"]
    assert [(row.line, row.reason) for row in bad] == [
        (2, "invalid"),
        (3, "unreadable"),
        (4, "unreadable"),
        (5, "invalid"),
    ]
    assert "5 cells under 6 column names" in bad[1].detail


def test_deeply_nested_rows_are_bad_rows(tmp_path: Path) -> None:
    deep = b'{"type":"user","attributes":' + b"[" * 100_000
    events, bad = read(write(tmp_path / "a.jsonl", deep + b"\n" + JSONL.splitlines()[0]))
    assert len(events) == 1
    assert [row.line for row in bad] == [1]
    cell = b"type,attributes\nuser," + b"[" * 100_000
    assert [row.line for row in read(write(tmp_path / "a.csv", cell))[1]] == [2]


def test_an_endless_line_is_one_bad_row(tmp_path: Path) -> None:
    data = b"x" * (2 * MAX_LINE_BYTES + 5) + b"\n" + JSONL.splitlines()[0]
    events, bad = read(write(tmp_path / "a.jsonl", data))
    assert len(events) == 1
    assert [row.line for row in bad] == [1]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
@pytest.mark.parametrize("lost", [1, 9, 900])
def test_a_file_that_was_cut_off_is_told_and_what_was_before_is_read(
    tmp_path: Path, pack: Callable[[bytes], bytes], lost: int
) -> None:
    name = "a.jsonl.gz" if pack is gzip.compress else "a.jsonl.zst"
    rows = read_rows(write(tmp_path / name, pack(JSONL)[:-lost]))
    found = []
    with pytest.raises(DamagedFileError, match=r"is damaged from line [\d,]+ on") as caught:
        for row in rows:
            found.append(decode_event(row.data, NOW))
    assert len(found) == 1_000 if lost < 900 and pack is gzip.compress else len(found) < 1_000
    assert caught.value.line == len(found) + 1


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.zst", "a.parquet"])
def test_a_file_that_is_no_such_thing_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(DamagedFileError, match=r"is damaged from line 1 on .*; mend it, or name"):
        read(write(tmp_path / name, b"no archive and no table" * 99))


def test_text_that_is_not_utf_8_says_where_to_name_its_encoding(tmp_path: Path) -> None:
    data = CSV.replace("🍐".encode(), "梨".encode("gbk"))
    events, bad = read(write(tmp_path / "a.csv", data))
    assert events == []
    assert len(bad) == 1_000
    assert "give its `encoding`, such as gbk, in the table [file] of a mapping" in bad[0].detail
    data = JSONL.replace(b"\\ud83c\\udf50", "梨".encode("gbk"))
    assert "give its `encoding`" in read(write(tmp_path / "a.jsonl", data))[1][0].detail


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".jsonl"])
def test_utf_16_is_refused_at_once(tmp_path: Path, encoding: str, suffix: str) -> None:
    data = (JSONL if suffix == ".jsonl" else CSV).decode().encode(encoding)
    path = write(tmp_path / f"a{suffix}", gzip.compress(data) if ".gz" in suffix else data)
    with pytest.raises(RowsError, match=r'UTF-16; save it as UTF-8, or give `encoding = "utf-16"`'):
        read(path)


@pytest.mark.parametrize("name", ["a.txt", "a", "a.gz", "a.parquet.gz", "a.jsonl.bz2"])
def test_an_unknown_format_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RowsError, match="is of no known format; name it"):
        list(read_rows(write(tmp_path / name, JSONL)))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RowsError, match=r"nothing\.csv is not a file; correct the path"):
        list(read_rows(tmp_path / "nothing.csv"))


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.jsonl.gz", "a.csv.zst"])
def test_an_empty_file_has_no_rows(tmp_path: Path, name: str) -> None:
    empty = {"gz": gzip.compress(b""), "zst": zstandard.compress(b"")}
    assert list(read_rows(write(tmp_path / name, empty.get(name.rpartition(".")[2], b"")))) == []
