"""Files of foreign rows as a source of the past."""

import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from pyarrow import parquet

from model.events import ContractError, decode_event
from stream.rows import BadRow, RowsError
from tests.past_files import (
    NOW,
    START,
    jsonl,
    past_of,
    read,
    tables,
)


class Form(msgspec.Struct):
    """How files of a test's mapping are laid out."""

    separator: str = "::"
    columns: tuple[str, ...] | None = ("who", "what", "when")
    quoted: bool = False
    encoding: str = "utf-8"


class Foreign(msgspec.Struct):
    """Stands in for a mapping: one event of each item of a row, none of a row without a user."""

    form: Form = msgspec.field(default_factory=Form)
    digest: str = "foreign"
    plain: dict[str, str] | None = None

    name: str = "foreign"
    refuses_others: bool = True

    def lacking(self, columns: Iterable[str], *, of_items: bool) -> str:
        """All three are needed."""
        assert not of_items
        return ", ".join(sorted({"who", "what", "when"} - {*columns}))

    def events(self, fields: dict[str, Any]) -> list[bytes]:
        """Items are joined with a comma."""
        if not fields["who"]:
            return []
        if not str(fields["when"]).isdigit():
            raise ContractError("invalid", "`when` is no time")
        return [
            msgspec.json.encode(
                {"type": "click", "event_id": f"{fields['who']}-{item}", "user_id": fields["who"],
                 "ts": START + int(fields["when"]), "item_id": item}
            )
            for item in fields["what"].split(",")
        ]  # fmt: skip

    def events_of_record(self, value: bytes) -> list[bytes]:
        """Of a record in JSON."""
        return self.events(msgspec.json.decode(value))


def comma_of(rows: Sequence[dict[str, Any]]) -> bytes:
    """With a row of names."""
    lines = [rows[0], *(row.values() for row in rows)]
    return "".join(",".join(map(str, line)) + "\n" for line in lines).encode()


FOREIGN = [("u", "a,b", "5"), ("", "a", "1"), ("v", "c", "x"), ("w", "c", "3"), ("x", ",d", "4")]
"""Two events; none; a bad row; one; one of two is bad, so that neither counts."""


@pytest.mark.parametrize("name", ["log.dat", "log.dat.gz", "log.jsonl", "log.parquet"])
def test_a_mapping_makes_the_events(tmp_path: Path, name: str) -> None:
    named = [dict(zip(("who", "what", "when"), row, strict=True)) for row in FOREIGN]
    data = {
        ".dat": "".join("::".join(row) + "\n" for row in FOREIGN).encode(),
        ".jsonl": jsonl(named),
        ".parquet": tables(named),
    }[Path(name.removesuffix(".gz")).suffix]
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    bad: list[BadRow] = []
    past = past_of(tmp_path, [tmp_path / name], bad.append, mapping=Foreign())
    events = [decode_event(value, NOW) for *_, value in read(past)]
    assert [(event.time - START, event.event_id) for event in events] == [
        (3, "w-c"), (5, "u-a"), (5, "u-b")
    ]  # fmt: skip
    assert [(row.line, row.reason) for row in bad] == [(3, "invalid"), (5, "invalid")]
    assert past.summary is not None
    assert past.summary.unmapped == 1
    assert "5 rows, 1 of which make no event by the mapping, on purpose" in past.told()


def test_a_file_in_utf_16_is_read_by_its_encoding(tmp_path: Path) -> None:
    lines = "".join("::".join(row) + "\n" for row in [*FOREIGN, ("用户", "茶", "9")])
    (tmp_path / "log.dat.gz").write_bytes(gzip.compress(lines.encode("utf-16")))
    bad: list[BadRow] = []
    mapping = Foreign(Form(encoding="utf-16"))
    past = past_of(tmp_path, [tmp_path / "log.dat.gz"], bad.append, mapping=mapping)
    events = [decode_event(value, NOW) for *_, value in read(past)]
    assert [event.user_id for event in events] == ["w", "u", "u", "用户"]
    assert [row.raw for row in bad] == [b"v::c::x", b"x::,d::4"]


def test_a_file_of_another_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / "log.dat").write_bytes("用户::茶::9\nu::a::1\n".encode("gbk"))
    bad: list[BadRow] = []
    assert past_of(tmp_path, [tmp_path / "log.dat"], bad.append, mapping=Foreign()).prepare().events
    assert "give its `encoding`, such as gbk" in bad[0].detail
    past = past_of(tmp_path, [tmp_path / "log.dat"], mapping=Foreign(Form(encoding="gbk"), "gbk"))
    assert past.prepare().events == 2


@pytest.mark.parametrize("mapping", [None, Foreign(Form(separator=",", columns=None))])
def test_names_of_columns_in_another_encoding_are_told(
    tmp_path: Path, mapping: Foreign | None
) -> None:
    (tmp_path / "log.csv").write_bytes("用户,商品\nu,a\n".encode("gbk"))
    with pytest.raises(RowsError, match=r"log\.csv: the text is not UTF-8; .* `encoding`, such"):
        past_of(tmp_path, [tmp_path / "log.csv"], mapping=mapping).prepare()


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "log.jsonl", "log.parquet"])
def test_a_mapping_of_other_columns_is_told_once(tmp_path: Path, name: str) -> None:
    rows = [{"kunde": f"u{n}", "what": "a", "when": n} for n in range(200)]
    data = {".csv": comma_of(rows), ".jsonl": jsonl(rows), ".parquet": tables(rows)}[
        Path(name.removesuffix(".gz")).suffix
    ]
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    bad: list[BadRow] = []
    mapping = Foreign(Form(separator=",", columns=None, quoted=True))
    with pytest.raises(RowsError) as caught:
        past_of(tmp_path, [tmp_path / name], bad.append, mapping=mapping).prepare()
    assert str(caught.value) == (
        f"{tmp_path / name} has no column who; it has `kunde`, `what`, `when`: correct foreign, or "
        "name another mapping"
    )
    assert bad == []


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl", "log.parquet"])
def test_a_log_that_lacks_a_mapping_is_told_once(tmp_path: Path, name: str) -> None:
    rows = [{"visitor": f"u{n}", "type": "click", "ts": n} for n in range(200)]
    data = {".csv": comma_of, ".jsonl": jsonl, ".parquet": tables}[Path(name).suffix](rows)
    (tmp_path / name).write_bytes(data)
    sentence = (
        "has no column `event_id`, `user_id`; it has `visitor`, `type`, `ts`: say with --mapping "
        r"what stands for it \(docs/mapping\.md\)"
    )
    with pytest.raises(RowsError, match=sentence):
        past_of(tmp_path, [tmp_path / name]).prepare()


def test_a_layout_of_other_cells_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "log.dat").write_bytes(b"u,a,1\n" * 200)
    with pytest.raises(RowsError, match=r"no row of 3 cells; the first is b'u,a,1': correct `sep"):
        past_of(tmp_path, [tmp_path / "log.dat"], mapping=Foreign()).prepare()


@pytest.mark.parametrize("quoted", [False, True])
def test_a_layout_tells_quotes_and_encoding(tmp_path: Path, quoted: bool) -> None:
    (tmp_path / "log.dat").write_bytes('ü\t"a"\t1\n'.encode("latin-1"))
    form = Form("\t", quoted=quoted, encoding="latin-1")
    past = past_of(tmp_path, [tmp_path / "log.dat"], mapping=Foreign(form))
    (event,) = [each.event for batch in past.batches({}) for each in batch.decoded]
    assert event.user_id == "ü"
    assert getattr(event, "item_id") == ("a" if quoted else '"a"')  # noqa: B009


def test_a_folder_may_hold_files_of_a_layout(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "log.inter").write_bytes(b"u::a::1\n")
    past = past_of(tmp_path, [tmp_path / "in"], mapping=Foreign())
    assert past.prepare().events == 1


def test_another_mapping_makes_another_set(tmp_path: Path) -> None:
    (tmp_path / "log.dat").write_bytes(b"u::a::1\n")
    parts = set[str]()
    for mapping in (Foreign(), Foreign(digest="other")):
        past = past_of(tmp_path, [tmp_path / "log.dat"], mapping=mapping)
        past.prepare()
        parts.add(past.part)
    assert len(parts) == 2


class Renaming(Foreign):
    """Only renames; what comes to ``events`` is written down."""

    plain: dict[str, str] | None = msgspec.field(
        default_factory=lambda: {
            "type": "kind", "event_id": "id", "user_id": "who", "ts": "when", "item_id": "what",
            "session_id": "visit", "context.country": "place.country",
        }
    )  # fmt: skip
    seen: list[Any] = []

    def events(self, fields: dict[str, Any]) -> list[bytes]:
        """One, by a rule of its own, so that it can be told."""
        self.seen.append(fields["id"])
        return [
            msgspec.json.encode(
                {"type": "favorite", "event_id": "made", "user_id": "u", "ts": 9, "item_id": "i"}
            )
        ]


def test_what_is_only_renamed_is_so_by_columns(tmp_path: Path) -> None:
    row = {
        "kind": "click",
        "id": "a",
        "who": "u",
        "when": 5,
        "what": "i",
        "visit": "",
        "place": None,
    }
    rows = [row, row | {"id": None}, row | {"id": "b", "place": {"country": "DE"}}]
    (tmp_path / "log.parquet").write_bytes(tables(rows))
    mapping = Renaming()
    past = past_of(tmp_path, [tmp_path / "log.parquet"], mapping=mapping)
    values = [value for *_, value in read(past)]
    assert values[0] == b'{"type":"click","event_id":"a","user_id":"u","ts":5,"item_id":"i"}'
    assert [decode_event(value, NOW).event_id for value in values] == ["a", "made", "made"]
    assert mapping.seen == [None, "b"]


def test_text_that_is_none_is_a_bad_row_of_a_mapping(tmp_path: Path) -> None:
    column = pa.array([b"u", b"\xff"], pa.binary())
    broken = pa.StringArray.from_buffers(2, *column.buffers()[1:])
    table = pa.table({"who": broken, "what": ["i", "i"], "when": ["1", "2"]})
    parquet.write_table(table, tmp_path / "log.parquet")
    bad: list[BadRow] = []
    past = past_of(tmp_path, [tmp_path / "log.parquet"], bad.append, mapping=Foreign())
    assert past.prepare().events == 1
    assert [(row.line, row.reason) for row in bad] == [(2, "unreadable")]
