"""CSV by columns: the events and faults that the rows have one by one."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.events import ContractError, Event, decode_event
from stream import lines as line_room
from stream.csv_rows import CsvRow
from stream.csv_tables import CsvTable, csv_parts
from stream.event_columns import EventReader
from stream.rows import BadRow, decode_rows, read_rows

NOW = 1_800_000_000_000
HEADER = ["type", "event_id", "user_id", "ts", "item_id", "price", "quantity", "dwell_ms", "query",
          "generated", "item_ids", "context.country", "unknown"]  # fmt: skip

numbers = st.sampled_from(
    ["", "0", "-0", "5", "-5", "007", "+5", "5.0", "5.50", ".5", "5.", "1e3", "1E-3", "NaN", "nan",
     "Infinity", "0.0001", "12345678.5", "0.1234567890123", "999999999999999", "9" * 17, " 5",
     "5 ", "x", "true", "0x5", "1_000", "٣"]
)  # fmt: skip
texts = st.sampled_from(
    ["", "a", "i-1", "用户", "a b", " a", "a,b", 'a"b', "a\nb", "a\rb", "a\\b", "x" * 257, "\u2028",
     "a\tb", "é" * 129, "NULL", "\ufeffa", "|", "[1]"]
)  # fmt: skip
times = st.sampled_from(
    ["1700000000000", "0", "-1", str(NOW * 2), "2026-01-31T12:00:00Z", "", "5.0"]
)
rows = st.lists(
    st.tuples(
        st.sampled_from(["click", "cart", "purchase", "search", "rating", "click ", ""]),
        texts, texts, times, texts, numbers, numbers, numbers, texts,
        st.sampled_from(["", "true", "TRUE", "false", "1", "yes"]),
        st.sampled_from(["", "a|b", '["a"]', "5"]), st.sampled_from(["", "DE"]), texts,
    ).map(list),
    max_size=12,
)  # fmt: skip


def written(some: list[list[str]], end: str) -> bytes:
    """A CSV file, quoted where it has to be."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end).writerows([HEADER, *some])
    return text.getvalue().encode()


def by_columns(path: Path) -> tuple[list[bytes], list[tuple[int, str]]]:
    """Events and faults as a replay reads them."""
    bad: list[BadRow] = []
    found = [
        value
        for events in EventReader(bad.append, NOW).read(path)
        for value in events.column("data").to_pylist()
    ]
    return found, [(row.line, row.reason) for row in bad]


def one_by_one(path: Path) -> tuple[list[Event], list[tuple[int, str]]]:
    """Events and faults as all else reads them."""
    bad: list[BadRow] = []
    decoded = decode_rows(read_rows(path), lambda data: decode_event(data, NOW), bad.append)
    return [event for _, event in decoded], [(row.line, row.reason) for row in bad]


def agree(path: Path, read_bytes: int) -> None:
    """Both ways find the same, and the same bytes whatever stands in one block of lines with it;
    within a block the order may differ."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_room, "READ_BYTES", read_bytes)
        data, faults = by_columns(path)
    others, other_faults = one_by_one(path)
    assert sorted(repr(decode_event(each, NOW)) for each in data) == sorted(map(repr, others))
    assert sorted(faults) == sorted(other_faults)
    assert sorted(by_columns(path)[0]) == sorted(data)


@settings(max_examples=80, deadline=None)
@given(some=rows, end=st.sampled_from(["\n", "\r\n"]), read_bytes=st.integers(40, 2_000))
def test_columns_and_rows_agree(
    tmp_path_factory: pytest.TempPathFactory, some: list[list[str]], end: str, read_bytes: int
) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(written(some, end))
    agree(path, read_bytes)


@settings(max_examples=80, deadline=None)
@given(
    body=st.lists(
        st.sampled_from(
            [b"click,1,u,5,i", b"click,2,u,5", b"", b" ", b'click,"3\n",u,5,i', b"click,4,\xff,5,i",
             b'click,5",u,5,i', b'"', b"click,6,u,5,i\r", b"cl\rick,7,u,5,i", b"\0",
             b"\xef\xbb\xbf", b"click,8,u,x,i", b",,,,"]
        ),
        max_size=15,
    ),
    read_bytes=st.integers(10, 200),
)  # fmt: skip
def test_columns_and_rows_agree_on_what_is_broken(
    tmp_path_factory: pytest.TempPathFactory, body: list[bytes], read_bytes: int
) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(b"\n".join([b"type,event_id,user_id,ts,item_id", *body]))
    agree(path, read_bytes)


def parts(
    data: bytes, monkeypatch: pytest.MonkeyPatch, read_bytes: int
) -> list[CsvTable | list[CsvRow]]:
    """The parts of a file that is read in small blocks."""
    monkeypatch.setattr(line_room, "READ_BYTES", read_bytes)
    return list(csv_parts(io.BytesIO(data)))


def test_plain_rows_go_by_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the properties above would hold of nothing."""
    plain = ["cart", "e", "u", "5", "i", "1.50", "2", "", "", "TRUE", "", "", "?"]
    header, *tables = parts(written([plain] * 40, "\n"), monkeypatch, 300)
    assert isinstance(header, list)
    assert len(tables) > 2
    for table in tables:
        assert isinstance(table, CsvTable)
        assert table.is_whole.to_pylist() == [True] * len(table.lines)
    assert isinstance(table, CsvTable)
    assert table.data[0].as_py() == (
        '{"type":"cart","event_id":"e","user_id":"u","ts":5,"item_id":"i","price":1.5,'
        '"quantity":2,"generated":true}'
    )
    assert table.row(0).cells == dict(zip(HEADER, plain, strict=True))


@pytest.mark.parametrize(
    ("name", "cell"),
    [("price", "1e3"), ("price", "5 EUR"), ("quantity", "two"), ("dwell_ms", "-0"),
     ("generated", "yes")],
)  # fmt: skip
def test_a_column_of_which_no_cell_is_plain_is_not_left_out(
    tmp_path: Path, name: str, cell: str
) -> None:
    """Nor is it where every row of a block is such a one."""
    plain = ["cart", "e", "u", "5", "i", "1.50", "2", "", "", "true", "", "", ""]
    row = dict(zip(HEADER, plain, strict=True)) | {name: cell}
    (tmp_path / "a.csv").write_bytes(written([[*row.values()]] * 9, "\n"))
    agree(tmp_path / "a.csv", read_bytes=100)


def test_a_quoted_row_costs_only_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [b"type,event_id,ts", *[b"click,e,5"] * 30, b'click,"e\ne",5', *[b"click,e,5"] * 30]
    found = parts(b"\n".join([*lines, b""]), monkeypatch, 100)
    one_by_one = [part for part in found if isinstance(part, list)]
    assert len(one_by_one) == 2  # the row of names, and the quoted one
    assert 33 in [row.line for row in one_by_one[1]]
    tables = [part for part in found if isinstance(part, CsvTable)]
    assert sum(map(len, one_by_one)) + sum(len(table.lines) for table in tables) == 61


def test_a_contract_error_is_what_rows_raise(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"type,event_id,user_id,ts,item_id\nclick,e,u,-1,i\nclick,e,u,1,i\n")
    events, faults = by_columns(path)
    assert len(events) == 1
    with pytest.raises(ContractError) as caught:
        decode_event(next(read_rows(path)).data, NOW)
    assert faults == [(2, caught.value.reason)]
